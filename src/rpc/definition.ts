import {
  loadPackageDefinition,
  logVerbosity,
  setLogVerbosity,
  type ServiceClientConstructor,
  type ServiceDefinition,
} from "@grpc/grpc-js";
import { fromJSON } from "@grpc/proto-loader";
import protobuf from "protobufjs";
import { assert } from "../base/assert.ts";
import protoText from "../../proto/raft.proto" with { type: "text" };
import { MAX_WRITES } from "./put-many-arguments.ts";
import { endOfWrites } from "./write-codec.ts";

/**
 * Fields that hold keys and values. On the wire a proto3 string and bytes are the same; we read them as
 * bytes, because the library's decoder would replace what is not valid UTF-8 in silence. See text.ts.
 */
const TEXT_FIELDS: readonly (readonly [message: string, field: string])[] = [
  ["StringArg", "arg"],
  ["KeyValue", "key"],
  ["KeyValue", "value"],
  ["GetKey", "key"],
  ["Reply", "value"],
  ["LogEntry", "key"],
  ["LogEntry", "value"],
];

/**
 * Messages that we read as bytes, which on the wire is the same: a frontend passes the writes of a batch on unopened,
 * and who opens them, or makes them, needs no object for each. See write-codec.ts.
 */
const UNOPENED_FIELDS: readonly (readonly [message: string, field: string, type: string])[] = [
  ["PutManyArgs", "writes", "Write"],
  ["LogEntry", "batch", "WriteList"],
];

/** The services of package `raft`, as our servers and clients speak them. */
export interface Services {
  readonly FrontEnd: ServiceDefinition;
  readonly KeyValueStore: ServiceDefinition;
}

export type ServiceName = keyof Services;

/** The RPC that carries many calls of its service (batched-call.ts). */
export const CONVERSE = "Converse";

/** Bytes: the largest message either side accepts. Above every limit on keys, values and batches. */
export const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;

// The library writes what it meets on stderr, beside the error that it also gives to us.
setLogVerbosity(logVerbosity.NONE);

export const services: Services = loadServices();

function loadServices(): Services {
  const { root } = protobuf.parse(protoText, { keepCase: true });
  for (const [message, field] of TEXT_FIELDS) readAsBytes(root, message, field, "string");
  for (const [message, field, type] of UNOPENED_FIELDS) readAsBytes(root, message, field, type);
  const loaded = loadPackageDefinition(
    fromJSON(root.toJSON(), { keepCase: true, longs: Number, enums: String, defaults: true, oneofs: true }),
  );
  return {
    FrontEnd: withBoundedBatches(serviceOf(loaded, "FrontEnd")),
    KeyValueStore: withBoundedBatches(serviceOf(loaded, "KeyValueStore")),
  };
}

function readAsBytes(root: protobuf.Root, message: string, field: string, type: string): void {
  const found = root.lookupType(`raft.${message}`).fields[field];
  assert(found?.type === type, `raft.proto has no ${type} ${message}.${field}`);
  found.type = "bytes";
}

/**
 * The library makes an object of every write, and an empty one takes two bytes of a message: millions of them would
 * keep the process busy for seconds. One more than is allowed is enough to be refused for.
 */
function withBoundedBatches(service: ServiceDefinition): ServiceDefinition {
  const method = service["PutMany"];
  assert(method !== undefined, "raft.proto has no RPC PutMany");
  const requestDeserialize = (bytes: Buffer): unknown =>
    method.requestDeserialize(bytes.subarray(0, endOfWrites(bytes, MAX_WRITES + 1)));
  return { ...service, PutMany: { ...method, requestDeserialize } };
}

function serviceOf(loaded: ReturnType<typeof loadPackageDefinition>, name: ServiceName): ServiceDefinition {
  const scope = loaded["raft"];
  assert(scope !== undefined && typeof scope === "object", "raft.proto has no package raft");
  const constructor = (scope as Record<string, ServiceClientConstructor>)[name];
  assert(constructor !== undefined, `raft.proto has no service ${name}`);
  return constructor.service;
}
