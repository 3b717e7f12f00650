/** etcd's calls, loaded with the options with which RaftKV's own are. */
import {
  loadPackageDefinition,
  type MethodDefinition,
  type ServiceClientConstructor,
  type ServiceDefinition,
} from "@grpc/grpc-js";
import { fromJSON } from "@grpc/proto-loader";
import protobuf from "protobufjs";
import { assert, defined } from "../../src/base/assert.ts";
import { absence, unaryTarget, type Target } from "./target.ts";
import protoText from "./etcd-kv.proto" with { type: "text" };

/** What a read gives: at most one pair for one key. */
interface RangeResponse {
  readonly kvs: readonly { readonly key: Buffer; readonly value: Buffer }[];
}

/** What a member says of itself. Ids lose their last digits: only whether two are the same is of use. */
export interface EtcdStatus {
  readonly header: { readonly member_id: number };
  readonly version: string;
  readonly leader: number;
}

/** Those of RaftKV's own calls, so that reading an answer costs the same. */
const LOAD_OPTIONS = { keepCase: true, longs: Number, enums: String, defaults: true, oneofs: true };

const loaded = loadPackageDefinition(
  fromJSON(protobuf.parse(protoText, { keepCase: true }).root.toJSON(), LOAD_OPTIONS),
);

/** Puts at one member. What an answer says beside "done" is of no use here. */
export function etcdPuts(address: string): Target {
  return unaryTarget(
    address,
    method<object>("KV", "Put"),
    ({ key, value }) => ({ key, value }),
    () => null,
  );
}

/** Linearizable reads, of keys that exist, at one member. */
export function etcdGets(address: string): Target {
  return unaryTarget(
    address,
    method<RangeResponse>("KV", "Range"),
    ({ key }) => ({ key, serializable: false }),
    ({ kvs }) => absence(kvs.length === 1),
  );
}

export const etcdStatus: MethodDefinition<object, EtcdStatus> = method("Maintenance", "Status");

function method<Response>(service: string, name: string): MethodDefinition<object, Response> {
  return defined(serviceOf(service)[name], `etcd-kv.proto has no ${service}.${name}`);
}

function serviceOf(name: string): ServiceDefinition {
  const scope = loaded["etcdserverpb"];
  assert(scope !== undefined && typeof scope === "object", "etcd-kv.proto has no package etcdserverpb");
  const constructor = (scope as Record<string, ServiceClientConstructor>)[name];
  return defined(constructor, `etcd-kv.proto has no service ${name}`).service;
}
