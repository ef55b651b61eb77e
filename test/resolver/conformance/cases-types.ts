/** ANY, types that are not known, SVCB and HTTPS. */
import { ask } from './packet.ts'
import type { Case, Expect } from './run.ts'

const alice = ['alice.p2p A 192.0.2.1', 'alice.p2p A 192.0.2.2']
const ok = (...answer: string[]): Expect => ({ rcode: 0, flags: 'aa rd ra', answer, authority: [], additional: [] })
const none = (rcode: number, authority = 'alice.p2p SOA minimum 300', answer: string[] = []): Expect => ({
  rcode,
  flags: 'aa rd ra',
  answer,
  authority: [authority],
})
const nodata = none(0)
const nxdomain = none(3)
const mail = Buffer.from('\x04mail\x05alice\x03p2p\0', 'latin1').toString('hex')

export const typeCases: Case[] = [
  { name: 'ANY gets one set', rfc: '8482 4.1', packet: ask('alice.p2p', 'ANY'), expect: ok(...alice) },
  {
    name: 'ANY of an alias is the alias',
    rfc: '8482 4.3',
    packet: ask('www.alice.p2p', 'ANY'),
    expect: { rcode: 0, answer: ['www.alice.p2p CNAME alice.p2p'] },
  },
  { name: 'ANY of nothing', rfc: '8482 4', packet: ask('x.alice.p2p', 'ANY'), expect: nxdomain },
  { name: 'ANY of an empty name', rfc: '8482 4', packet: ask('deep.alice.p2p', 'ANY'), expect: nodata },

  {
    name: 'data of an unknown type',
    rfc: '3597 3',
    packet: ask('odd.alice.p2p', 'TYPE65280'),
    expect: ok('odd.alice.p2p TYPE65280 01020304'),
  },
  {
    name: 'no data of an unknown type',
    rfc: '3597 5',
    packet: ask('odd.alice.p2p', 'TYPE65281'),
    expect: ok('odd.alice.p2p TYPE65281 '),
  },
  {
    name: 'what looks like a pointer in unknown data is none',
    rfc: '3597 4',
    packet: ask('odd.alice.p2p', 'TYPE65282'),
    expect: ok('odd.alice.p2p TYPE65282 c00cc00cc00c'),
  },
  {
    name: 'HTTPS at an apex',
    rfc: '9460 2.2',
    packet: ask('alice.p2p', 'HTTPS'),
    expect: ok('alice.p2p HTTPS 0001000001000602683202683300040004c0000201'),
  },
  {
    name: 'SVCB: keys in order, name not compressed',
    rfc: '9460 2.2',
    packet: ask('_foo.alice.p2p', 'SVCB'),
    expect: { rcode: 0, answer: [`_foo.alice.p2p SVCB 0010${mail}000000040001000300010004036261720003000220fb`] },
  },
  {
    name: 'SVCB as an alias',
    rfc: '9460 2.4.2',
    packet: ask('alias.alice.p2p', 'SVCB'),
    expect: { rcode: 0, answer: [`alias.alice.p2p SVCB 0000${mail}`] },
  },
  {
    name: 'an unknown key',
    rfc: '9460 2.1',
    packet: ask('key.alice.p2p', 'HTTPS'),
    expect: ok('key.alice.p2p HTTPS 000100029b000568656c6c6f'),
  },
  {
    name: 'ipv6hint',
    rfc: '9460 7.3',
    packet: ask('v6.alice.p2p', 'HTTPS'),
    expect: ok(`v6.alice.p2p HTTPS 0001000006002020010db800000000000000000000000120010db8000000000000000000000053`),
  },
  { name: 'no HTTPS at a name', rfc: '9460 3', packet: ask('mail.alice.p2p', 'HTTPS'), expect: nodata },
  {
    name: 'an alias is followed for HTTPS as well',
    rfc: '9460 2.4.2',
    packet: ask('www.alice.p2p', 'HTTPS'),
    expect: {
      rcode: 0,
      answer: ['www.alice.p2p CNAME alice.p2p', 'alice.p2p HTTPS 0001000001000602683202683300040004c0000201'],
    },
  },
]
