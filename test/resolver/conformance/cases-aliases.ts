/** Aliases: inside a zone, into another, to others and back. */
import { ask, opt } from './packet.ts'
import type { Case, Expect } from './run.ts'

const alice = ['alice.p2p A 192.0.2.1', 'alice.p2p A 192.0.2.2']
const ok = (...answer: string[]): Expect => ({ rcode: 0, flags: 'aa rd ra', answer, authority: [], additional: [] })
const none = (rcode: number, authority = 'alice.p2p SOA minimum 300', answer: string[] = []): Expect => ({
  rcode,
  flags: 'aa rd ra',
  answer,
  authority: [authority],
})

export const aliasCases: Case[] = [
  {
    name: 'an alias to the apex',
    rfc: '1034 3.6.2',
    packet: ask('www.alice.p2p'),
    expect: ok('www.alice.p2p CNAME alice.p2p', ...alice),
  },
  {
    name: 'the alias itself',
    rfc: '1034 3.6.2',
    packet: ask('www.alice.p2p', 'CNAME'),
    expect: { rcode: 0, answer: ['www.alice.p2p CNAME alice.p2p'] },
  },
  {
    name: 'an alias of an alias',
    rfc: '1034 3.6.2',
    packet: ask('w3.alice.p2p'),
    expect: ok('w3.alice.p2p CNAME www.alice.p2p', 'www.alice.p2p CNAME alice.p2p', ...alice),
  },
  {
    name: 'an alias to a name without that type',
    rfc: '2308 2.2',
    packet: ask('bare.alice.p2p'),
    expect: none(0, 'alice.p2p SOA minimum 300', ['bare.alice.p2p CNAME x.deep.alice.p2p']),
  },
  {
    name: 'an alias to nothing is NXDOMAIN',
    rfc: '2308 2.1',
    packet: ask('gone.alice.p2p'),
    expect: none(3, 'alice.p2p SOA minimum 300', ['gone.alice.p2p CNAME nowhere.alice.p2p']),
  },
  {
    name: 'an alias into another zone',
    rfc: '1034 4.3.2',
    packet: ask('bob.alice.p2p'),
    expect: ok('bob.alice.p2p CNAME bob.p2p', 'bob.p2p A 192.0.2.9'),
  },
  {
    name: 'eight aliases',
    rfc: '1034 5.2.2',
    packet: ask('c2.alice.p2p'),
    expect: {
      rcode: 0,
      flags: 'aa rd ra',
      answer: [
        ...Array.from({ length: 8 }, (_, i) => `c${i + 2}.alice.p2p CNAME c${i + 3}.alice.p2p`),
        'c10.alice.p2p A 192.0.2.10',
      ],
    },
  },
  {
    name: 'ten aliases are too many',
    rfc: '1034 5.2.2',
    packet: ask('c0.alice.p2p'),
    expect: { rcode: 2, answer: [] },
  },
  { name: 'aliases in a circle', rfc: '1034 5.2.2', packet: ask('loop.alice.p2p'), expect: { rcode: 2, answer: [] } },
  {
    // A name of somebody else that leads to this machine lets a page from there in (rebinding.ts).
    name: 'an alias to localhost leads nowhere, and says so',
    rfc: '8914 4.16',
    packet: ask('home.alice.p2p', 'A', { records: [opt()] }),
    expect: { rcode: 0, answer: ['home.alice.p2p CNAME localhost'], options: ['15:000f'] },
  },
  {
    name: 'an alias to others, without an upstream',
    rfc: '1034 4.3.2',
    packet: ask('web.alice.p2p'),
    expect: ok('web.alice.p2p CNAME www.example.org'),
  },
  {
    name: 'an alias to others',
    rfc: '1034 5.2.2',
    server: 'upstream',
    packet: ask('web.alice.p2p'),
    expect: ok('web.alice.p2p CNAME www.example.org', 'www.example.org A 198.51.100.1'),
  },
  {
    name: 'an alias to an alias of others',
    rfc: '1034 5.2.2',
    server: 'upstream',
    packet: ask('far.alice.p2p'),
    expect: ok(
      'far.alice.p2p CNAME alias.example.org',
      'alias.example.org CNAME www.example.org',
      'www.example.org A 198.51.100.1',
    ),
  },
  {
    name: 'an alias to nothing of others',
    rfc: '2308 2.1',
    server: 'upstream',
    packet: ask('lost.alice.p2p'),
    expect: none(3, 'example.org SOA minimum 60', ['lost.alice.p2p CNAME gone.example.org']),
  },
  {
    name: 'an alias to others without that type',
    rfc: '2308 2.2',
    server: 'upstream',
    packet: ask('web.alice.p2p', 'TXT'),
    expect: none(0, 'example.org SOA minimum 60', ['web.alice.p2p CNAME www.example.org']),
  },
  {
    name: 'an alias to others and back',
    rfc: '1034 5.2.2',
    server: 'upstream',
    packet: ask('back.alice.p2p'),
    expect: ok('back.alice.p2p CNAME back.example.org', 'back.example.org CNAME bob.p2p', 'bob.p2p A 192.0.2.9'),
  },
  {
    name: 'names of others come as the upstream has them',
    rfc: '1034 5.3.3',
    server: 'upstream',
    packet: ask('www.example.org'),
    expect: { rcode: 0, answer: ['www.example.org A 198.51.100.1'] },
  },
]
