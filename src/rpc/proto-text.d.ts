/** raft.proto is imported as text and so becomes part of the executable. */
declare module "*.proto" {
  const text: string;
  export default text;
}
