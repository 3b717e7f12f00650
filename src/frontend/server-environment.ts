/**
 * What the process of a server finds in its environment, unless it is there already. The JavaScript engine reads it
 * when a process begins, and at no other time.
 *
 * `BUN_JSC_forceRAMSize`: how much memory the engine takes the machine to have, in bytes. It collects what is not used
 * any more when the heap has grown to a multiple of what was; the multiple is 2 up to a quarter of this, 1.5 up to a half,
 * and 1.24 beyond. With what a large machine really has, most of a busy server's memory is waste.
 */
export const SERVER_ENVIRONMENT: Readonly<Record<string, string>> = {
  BUN_JSC_forceRAMSize: String(512 * 1024 * 1024),
};
