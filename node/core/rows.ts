/** A long canonical CBOR array, read row by row: its rows are counted, and each is bounded, before it is decoded. */
import { decodeFirst, Tokenizer } from 'cborg'
import { type Bytes, type CborValue, equalBytes, toCbor } from './encoding.ts'
import { P2pnsError } from './errors.ts'

const OPTIONS = { strict: true, allowIndefinite: false } as const
/** Bytes before the first row of an array, at most. */
const HEAD = 9

/**
 * The rows of the array that `bytes` are. `rows`: how many there may be. `rowBytes`: of each. Throws `too_large`, or
 * `malformed` for anything that is not the canonical form.
 */
export function* readRows(
  bytes: Bytes,
  { what, rows, rowBytes }: { what: string; rows: number; rowBytes: number },
): Generator<CborValue> {
  const malformed = (cause?: unknown) => new P2pnsError('malformed', `${what} is not canonical CBOR`, { cause })
  const head = readHead(bytes)
  if (!head) throw malformed()
  if (head.count > rows) throw new P2pnsError('too_large', `${what} has ${head.count} rows, the limit is ${rows}`)
  let rest = bytes.subarray(head.length)
  for (let row = 0; row < head.count; row++) {
    const window = rest.subarray(0, rowBytes)
    let value: CborValue
    let length: number
    try {
      const [decoded, after] = decodeFirst(window, OPTIONS) as [CborValue, Bytes]
      value = decoded
      length = window.length - after.length
      // As in fromCbor: decoders in "strict" mode still accept some of what is not canonical.
      if (!equalBytes(toCbor(value), window.subarray(0, length))) throw malformed()
    } catch (cause) {
      throw malformed(cause)
    }
    rest = rest.subarray(length)
    yield value
  }
  if (rest.length > 0) throw malformed()
}

function readHead(bytes: Bytes): { count: number; length: number } | undefined {
  try {
    const tokens = new Tokenizer(bytes.subarray(0, HEAD), OPTIONS)
    const { type, value } = tokens.next()
    return type.name === 'array' ? { count: Number(value), length: tokens.pos() } : undefined
  } catch {
    return undefined
  }
}
