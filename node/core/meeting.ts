/**
 * How two peers that can both reach an introducer agree on a link: a signed call, a signed answer, and what both compute
 * from them (docs/spec/reaching.md, "Meeting"). A signed ephemeral X25519 exchange (RFC 7748), bound to both messages by
 * HKDF (RFC 5869); what it yields are the external pre-shared keys of TLS 1.3.
 */
import * as crypto from 'node:crypto'
import { type Bytes, concat, equalBytes, fromCbor, toCbor, utf8 } from './encoding.ts'
import { isError, P2pnsError } from './errors.ts'
import { type Host, hostFields, parseHosts } from './hosts.ts'
import { type KeyPair, sha256, verify } from './keys.ts'
import { FILTERINGS, type Filtering, MAPPINGS, type Mapping } from './nat.ts'
import { asBytes, asList, asUint } from './shape.ts'

export const MAX_MEETING_BYTES = 1400
const CALL_DOMAIN = utf8('p2pns/call/v1\0')
const ANSWER_DOMAIN = utf8('p2pns/answer/v1\0')
const INFO = utf8('p2pns/meeting/v1')
const NONCE_SIZE = 16
const TICKET_SIZE = 48
const PROBE_KEY_SIZE = 32
/** SubjectPublicKeyInfo head before the 32 bytes of an X25519 key (RFC 8410 section 4). */
const SPKI_HEAD = Buffer.from('302a300506032b656e032100', 'hex')

/** One for each way that a link may come about, so that none uses up what another needs. */
export const TICKET_USES = ['direct', 'reversed', 'punched-tcp', 'punched-udp', 'relayed'] as const
export type TicketUse = (typeof TICKET_USES)[number]

/** What a side tells of itself. */
export interface Reachable {
  mapping: Mapping
  filtering: Filtering
  hosts: readonly Host[]
}

export interface Message extends Reachable {
  kind: 'call' | 'answer'
  /** Ed25519 keys of the peer ids. */
  caller: Bytes
  callee: Bytes
  /** 16 bytes, the caller's choice. */
  nonce: Bytes
  /** A fresh X25519 public key. */
  share: Bytes
  /** As it was sent. */
  bytes: Bytes
}

/** One side's secret half, used once. */
export interface Half {
  readonly privateKey: crypto.KeyObject
  readonly share: Bytes
}

export interface Secrets {
  /** `id` 16 bytes, `secret` 32. */
  tickets: Record<TicketUse, { id: Bytes; secret: Bytes }>
  /** 32 bytes. */
  probeKey: Bytes
}

/** `seed`: 32 fresh random bytes. */
export function halfFrom(seed: Bytes): Half {
  const head = Buffer.from('302e020100300506032b656e04220420', 'hex')
  const privateKey = crypto.createPrivateKey({ key: concat(head, seed) as Buffer, format: 'der', type: 'pkcs8' })
  const spki = crypto.createPublicKey(privateKey).export({ format: 'der', type: 'spki' })
  return { privateKey, share: Uint8Array.from(spki.subarray(SPKI_HEAD.length)) }
}

export function encodeCall(pair: KeyPair, callee: Bytes, nonce: Bytes, half: Half, own: Reachable): Bytes {
  const body = encodeBody(0, pair.publicKey, callee, nonce, half, own)
  return toCbor([body, pair.sign(concat(CALL_DOMAIN, body))])
}

export function encodeAnswer(pair: KeyPair, call: Message, half: Half, own: Reachable): Bytes {
  const body = encodeBody(1, call.caller, pair.publicKey, call.nonce, half, own)
  return toCbor([body, pair.sign(concat(ANSWER_DOMAIN, sha256(call.bytes), body))])
}

/** A call to `callee`, signed by who it says. Errors: malformed, too_large, signature_invalid. */
export function parseCall(bytes: Bytes, callee: Bytes): Message {
  const { message, body, signature } = readMessage(bytes, 'A call')
  if (message.kind !== 'call' || !equalBytes(message.callee, callee)) {
    throw new P2pnsError('malformed', 'A call is for somebody else')
  }
  if (!verify(message.caller, concat(CALL_DOMAIN, body), signature)) {
    throw new P2pnsError('signature_invalid', 'A call is not signed by its caller')
  }
  return message
}

/** The answer to `call`, signed by its callee. Errors: malformed, too_large, signature_invalid. */
export function parseAnswer(bytes: Bytes, call: Bytes): Message {
  const asked = readMessage(call, 'A call').message
  const { message, body, signature } = readMessage(bytes, 'An answer')
  const { kind, caller, callee, nonce } = message
  const fits = equalBytes(caller, asked.caller) && equalBytes(callee, asked.callee) && equalBytes(nonce, asked.nonce)
  if (kind !== 'answer' || !fits) throw new P2pnsError('malformed', 'An answer is to another call')
  if (!verify(callee, concat(ANSWER_DOMAIN, sha256(call), body), signature)) {
    throw new P2pnsError('signature_invalid', 'An answer is not signed by who was called')
  }
  return message
}

/** Which of the two a message is, and by which nonce they find each other; undefined for neither. Checks no signature. */
export function glance(bytes: Bytes): { kind: Message['kind']; nonce: Bytes } | undefined {
  try {
    const { kind, nonce } = readMessage(bytes, 'A message').message
    return { kind, nonce }
  } catch (error) {
    if (isError(error)) return undefined
    throw error
  }
}

/** Errors: malformed, when the other side's share is one that gives everybody the same. */
export function secretsOf(half: Half, theirs: Bytes, call: Bytes, answer: Bytes): Secrets {
  const publicKey = crypto.createPublicKey({ key: concat(SPKI_HEAD, theirs) as Buffer, format: 'der', type: 'spki' })
  let shared: Bytes
  try {
    shared = crypto.diffieHellman({ privateKey: half.privateKey, publicKey })
  } catch (cause) {
    // OpenSSL refuses points of small order, whose result is zero (RFC 7748 section 6.1).
    throw new P2pnsError('malformed', 'A share is of small order', { cause })
  }
  const length = TICKET_USES.length * TICKET_SIZE + PROBE_KEY_SIZE
  const okm = Buffer.from(crypto.hkdfSync('sha256', shared, sha256(call, answer), INFO, length))
  const ticket = (use: TicketUse): { id: Bytes; secret: Bytes } => {
    const at = TICKET_USES.indexOf(use) * TICKET_SIZE
    return { id: okm.subarray(at, at + 16), secret: okm.subarray(at + 16, at + TICKET_SIZE) }
  }
  return {
    tickets: {
      direct: ticket('direct'),
      reversed: ticket('reversed'),
      'punched-tcp': ticket('punched-tcp'),
      'punched-udp': ticket('punched-udp'),
      relayed: ticket('relayed'),
    },
    probeKey: okm.subarray(length - PROBE_KEY_SIZE),
  }
}

function encodeBody(kind: 0 | 1, caller: Bytes, callee: Bytes, nonce: Bytes, { share }: Half, own: Reachable): Bytes {
  const nat = [MAPPINGS.indexOf(own.mapping), FILTERINGS.indexOf(own.filtering)]
  return toCbor([1, kind, caller, callee, nonce, share, nat, own.hosts.map(hostFields)])
}

function readMessage(bytes: Bytes, what: string): { message: Message; body: Bytes; signature: Bytes } {
  const [bodyItem, signature] = asList(fromCbor(bytes, MAX_MEETING_BYTES, what), what, 2)
  if (!(bodyItem instanceof Uint8Array)) throw new P2pnsError('malformed', `${what} has no body`)
  const body: Bytes = bodyItem
  const [version, kind, caller, callee, nonce, share, nat, hosts] = asList(
    fromCbor(body, MAX_MEETING_BYTES, what),
    what,
    8,
  )
  if (asUint(version, what, 1) !== 1) throw new P2pnsError('malformed', `${what} has an unknown version`)
  const [mapping, filtering] = asList(nat, what, 2)
  const message: Message = {
    kind: asUint(kind, what, 1) === 0 ? 'call' : 'answer',
    caller: asBytes(caller, what, 32),
    callee: asBytes(callee, what, 32),
    nonce: asBytes(nonce, what, NONCE_SIZE),
    share: asBytes(share, what, 32),
    mapping: MAPPINGS[asUint(mapping, what, MAPPINGS.length - 1)] as Mapping,
    filtering: FILTERINGS[asUint(filtering, what, FILTERINGS.length - 1)] as Filtering,
    hosts: parseHosts(hosts, what),
    bytes,
  }
  return { message, body, signature: asBytes(signature, what, 64) }
}
