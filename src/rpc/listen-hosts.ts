/** Every spelling of "this machine" that clients use (contract: localhost, 127.0.0.1 and [::1]). */
const LOOPBACK_HOSTS = ["127.0.0.1", "::1"] as const;

/**
 * Where a process listens whose configured address is `baseAddress`: there, and wherever local clients
 * look for it. The first host must work; the others are left out on a machine that lacks them.
 */
export function listenHosts(baseAddress: string): readonly string[] {
  switch (baseAddress) {
    case "localhost":
      return LOOPBACK_HOSTS;
    // Everything at once; a second socket on the same port of the same family would be refused.
    case "::":
      return ["::"];
    case "0.0.0.0":
      return ["0.0.0.0", "::1"];
    default:
      return [...new Set([baseAddress, ...LOOPBACK_HOSTS])];
  }
}
