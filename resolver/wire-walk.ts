/** Steps through messages whose records are not looked at. */

/** Where the name at `at` ends; behind the message for one that does not. */
export function skipName(message: Buffer, at: number): number {
  for (;;) {
    const length = message[at]
    if (length === undefined) return message.length
    if (length === 0) return at + 1
    if (length >= 0xc0) return at + 2
    at += length + 1
  }
}
