/** Good packets to start from: queries of every kind, and what a resolver may answer to one. */
import { nameToWire } from '../../../node/core/dns.ts'
import { cases } from '../conformance/cases.ts'
import { ask, opt, option, record, u16, wireName } from '../conformance/packet.ts'
import { a, optWith, respond, rr, soa } from '../fake-upstream.ts'

const withOptions = (name: string, type: string | number, ...options: Buffer[]): Buffer =>
  ask(name, type, { records: [opt({ options: Buffer.concat(options), flags: 0x8000 })] })
const cookie = option(10, '0102030405060708')
const keepalive = option(11)
const subnet = option(8, '00011800c00002')
const padding = option(12, '00'.repeat(40))

/** What clients send, over all transports. */
const TYPICAL = [
  ask('www.example.org', 'AAAA'),
  ask('WwW.eXaMpLe.OrG'),
  ask('', 'NS'),
  ask('alice.p2p', 'HTTPS'),
  ask('_foo.alice.p2p', 'SVCB'),
  ask('web.alice.p2p.alt'),
  ask('far.alice.p2p', 'TXT'),
  ask('back.alice.p2p'),
  ask('1.2.0.192.in-addr.arpa', 'PTR'),
  ask('a.'.repeat(126).slice(0, -1)),
  ask(`${'a'.repeat(63)}.${'b'.repeat(63)}.${'c'.repeat(63)}.${'d'.repeat(57)}.p2p`),
  ask('alice.p2p', 'ANY', { records: [opt({ payload: 65_535 })] }),
  ask('huge.alice.p2p', 'TXT', { records: [opt({ payload: 4096 })] }),
  withOptions('alice.p2p', 'A', cookie),
  withOptions('big.alice.p2p', 'A', cookie, keepalive, subnet, padding),
  withOptions('www.example.org', 'HTTPS', keepalive, padding),
  withOptions('router.lan', 'A', option(10, '01'.repeat(24)), option(3)),
  ask('alice.p2p', 'A', { records: [opt(), record('key.example', 'TYPE250', Buffer.alloc(58, 7))] }),
]

export const QUERIES: readonly Buffer[] = [...cases.map(({ packet }) => packet), ...TYPICAL]

const bytes = (hex: string): Buffer => Buffer.from(hex, 'hex')
const toQuestion = Buffer.from([0xc0, 12])
const alias = (from: string | undefined, to: Uint8Array): Buffer => rr(5, to, 60, from)
const far = nameToWire('www.far.example')
const svcb = Buffer.concat([u16(1), wireName(''), u16(1, 3), bytes('026832'), u16(4, 8), bytes('c6336401c6336402')])

/** What others answer, by the question that they are asked. */
export const ANSWERS: readonly ((query: Buffer) => Buffer)[] = [
  (query) => respond(query, { answers: [a('198.51.100.1'), a('198.51.100.2', 3600)] }),
  (query) => respond(query, { answers: [rr(28, bytes('20010db8000000000000000000000001'))], flags: 0x8580 }),
  (query) => respond(query, { authority: [soa(300, 60)], flags: 0x8183, additional: [optWith(3, 'stale there')] }),
  (query) => respond(query, { authority: [soa(300, 60)], additional: [optWith(15, '')] }),
  (query) => respond(query, { answers: [alias(undefined, far), rr(1, bytes('cb007101'), 60, 'www.far.example')] }),
  (query) => respond(query, { answers: [alias(undefined, nameToWire('alice.p2p')), a('10.0.0.1')] }),
  (query) => respond(query, { answers: [a('192.168.1.1'), rr(46, bytes('00010803000000ff00000000')), rr(65, svcb)] }),
  (query) => respond(query, { answers: [rr(15, Buffer.concat([u16(10), toQuestion])), rr(16, bytes('026869026f6b'))] }),
  (query) =>
    respond(query, {
      answers: [rr(33, Buffer.concat([u16(1, 2, 443), far])), rr(64, svcb), rr(257, bytes('000569737375656361'))],
    }),
  (query) =>
    respond(query, { answers: [rr(35, Buffer.concat([u16(1, 2), bytes('01730373697000'), far])), rr(39, far)] }),
  (query) => respond(query, { answers: Array.from({ length: 60 }, (_, i) => a(`198.51.100.${i}`, i)) }),
  (query) =>
    respond(query, {
      answers: Array.from({ length: 9 }, (_, i) => alias(`c${i}.example`, nameToWire(`c${i + 1}.example`))),
    }),
  (query) => respond(query, { flags: 0x8182, additional: [optWith(23, 'nobody')] }),
  (query) => respond(query, { flags: 0x8185 }),
]
