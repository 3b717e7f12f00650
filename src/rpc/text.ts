/**
 * Keys and values between the wire and JavaScript strings, exactly.
 *
 * The wire carries UTF-8. A JavaScript string may also hold a lone surrogate, which UTF-8 cannot say and
 * ordinary encoders replace in silence; here it travels as the three bytes that UTF-8 would give its
 * number ("generalised UTF-8", WTF-8). Anything else that is not UTF-8 is refused, never replaced.
 */

const strictDecoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export function encodeText(text: string): Buffer {
  if (text.isWellFormed()) return Buffer.from(text, "utf8");
  const bytes: number[] = [];
  for (const character of text) {
    const point = character.codePointAt(0) ?? 0;
    if (isSurrogate(point))
      bytes.push(0xe0 | (point >> 12), 0x80 | ((point >> 6) & 0x3f), 0x80 | (point & 0x3f));
    else bytes.push(...Buffer.from(character, "utf8"));
  }
  return Buffer.from(bytes);
}

/** The string, which keeps nothing of the buffer; null when the bytes are not text. */
export function decodeText(bytes: Uint8Array): string | null {
  try {
    return strictDecoder.decode(bytes);
  } catch {
    return decodeWithSurrogates(bytes);
  }
}

/** Splits at lone surrogates and decodes what is between them strictly. */
function decodeWithSurrogates(bytes: Uint8Array): string | null {
  let text = "";
  let start = 0;
  try {
    for (let at = 0; at < bytes.length;) {
      const surrogate = surrogateAt(bytes, at);
      if (surrogate === null) {
        at += 1;
        continue;
      }
      text += strictDecoder.decode(bytes.subarray(start, at)) + String.fromCharCode(surrogate);
      at += 3;
      start = at;
    }
    text += strictDecoder.decode(bytes.subarray(start));
  } catch {
    return null;
  }
  // A pair of surrogates encoded one by one is not canonical: accepting it would give one string two encodings.
  return encodeText(text).equals(bytes) ? text : null;
}

/** The surrogate whose three bytes begin at `at`, or null. */
function surrogateAt(bytes: Uint8Array, at: number): number | null {
  const [first, second, third] = [bytes[at], bytes[at + 1], bytes[at + 2]];
  if (first !== 0xed || second === undefined || third === undefined) return null;
  if (second < 0xa0 || second > 0xbf || third < 0x80 || third > 0xbf) return null;
  return 0xd000 | ((second & 0x3f) << 6) | (third & 0x3f);
}

function isSurrogate(point: number): boolean {
  return point >= 0xd800 && point <= 0xdfff;
}
