/** Names as text: what kind a name is, which zone it stands in, and what stands below the zone's apex. */
import { type Bytes, fromZ32, toZ32 } from './encoding.ts'
import { P2pnsError } from './errors.ts'

/**
 * `labels` stand below the apex, leftmost first (`www` in `www.alice.p2p`); `apex` is the canonical text of the zone,
 * lower-case, with its suffix; `text` the whole name in the same form.
 */
export type Name = { labels: string[]; apex: string; text: string } & (
  | { kind: 'key'; key: Bytes }
  | { kind: 'short'; short: string }
  | { kind: 'pet'; pet: string }
)

/** The suffix of every name. One constant, because `.p2p` is not reserved and may have to move (RFC 9476). */
export const SUFFIX = 'p2p'

const LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/
/** Below an apex a label may also start with an underscore (RFC 8552). */
const SUBLABEL = /^(?=.{1,63}$)_?[a-z0-9]([a-z0-9-]*[a-z0-9])?$/
const RESERVED = new Set(['pet', 'key', 'local', 'localhost', 'wpad', 'isatap'])
const KEY_LABEL = /^[ybndrfg8ejkmcpqxot1uwisza345h769]{52}$/

function invalid(text: string, why: string): P2pnsError {
  return new P2pnsError('name_invalid', `"${text.slice(0, 80)}" is not a p2pns name: ${why}`)
}

function checkLabel(text: string, label: string): string {
  if (label.startsWith('xn--'))
    throw invalid(text, `"${label}" stands for other letters (IDN), which names do not have`)
  if (!LABEL.test(label)) {
    throw invalid(text, `"${label}" is not a label (a-z, 0-9 and inner hyphens, at most 63)`)
  }
  return label
}

/** True when `text` is, or stands below, the suffix: such a name is ours and never goes upstream. */
export function isOurs(text: string): boolean {
  const lower = text
    .toLowerCase()
    .replace(/\.$/, '')
    .replace(/\.alt$/, '')
  return lower === SUFFIX || lower.endsWith(`.${SUFFIX}`)
}

/** Reads any of the three kinds; a final dot and a final `.alt` are accepted. */
export function parseName(text: string): Name {
  if (text.length > 260) throw invalid(text, 'it is longer than 253 characters')
  // Some letters outside ASCII become ASCII ones in lower case (U+212A, the Kelvin sign): refused before that.
  if (!/^[\x21-\x7e]*$/.test(text)) throw invalid(text, 'it has characters other than a-z, 0-9, hyphen and dot')
  const plain = text
    .toLowerCase()
    .replace(/\.$/, '')
    .replace(/\.alt$/, '')
  if (plain.length > 253) throw invalid(text, 'it is longer than 253 characters')
  const parts = plain.split('.')
  if (parts.pop() !== SUFFIX) throw invalid(text, `it does not end in .${SUFFIX}`)
  const last = parts.pop()
  if (last === undefined || last === '') throw invalid(text, `nothing stands before .${SUFFIX}`)

  if (last === 'pet') {
    const pet = parts.pop()
    if (pet === undefined) throw invalid(text, 'a petname looks like bob.pet.p2p')
    checkLabel(text, pet)
    return finish({ kind: 'pet', pet }, `${pet}.pet.${SUFFIX}`, parts, text)
  }
  if (KEY_LABEL.test(last)) {
    let key: Bytes
    try {
      key = fromZ32(last)
    } catch {
      throw invalid(text, 'its key is not in the canonical spelling')
    }
    return finish({ kind: 'key', key }, `${last}.${SUFFIX}`, parts, text)
  }
  checkLabel(text, last)
  if (RESERVED.has(last)) throw invalid(text, `"${last}" is reserved`)
  return finish({ kind: 'short', short: last }, `${last}.${SUFFIX}`, parts, text)
}

function finish(
  head: { kind: 'key'; key: Bytes } | { kind: 'short'; short: string } | { kind: 'pet'; pet: string },
  apex: string,
  labels: string[],
  text: string,
): Name {
  for (const label of labels) {
    if (!SUBLABEL.test(label)) throw invalid(text, `"${label}" is not a label`)
  }
  return { ...head, labels, apex, text: [...labels, apex].join('.') }
}

/** The key name of a public key: `<52 z-base-32 characters>.p2p`. */
export function keyNameOf(publicKey: Bytes): string {
  return `${toZ32(publicKey)}.${SUFFIX}`
}
