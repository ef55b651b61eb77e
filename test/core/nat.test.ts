import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { HostPort } from '../../node/core/hosts.ts'
import { type Judgement, judge, type Samples } from '../../node/core/nat.ts'

const at = (host: string, port: number): HostPort => ({ host, port })
/** Two reflectors, the first with two ports. */
const [A, A2, B] = [at('198.51.100.1', 4001), at('198.51.100.1', 4002), at('198.51.100.2', 4001)]
const LOCAL = [at('192.168.1.5', 5000)]
const OUTSIDE = '203.0.113.9'

/** What the reflectors saw, as ports of one public address. */
function samples(seen: [reflector: HostPort, port: number][], rest: Partial<Samples> = {}): Samples {
  return {
    local: LOCAL,
    seen: seen.map(([reflector, port]) => ({ reflector, mapped: at(OUTSIDE, port) })),
    silent: [],
    ...rest,
  }
}

const kinds: [name: string, samples: Samples, expected: Partial<Judgement>][] = [
  [
    'no NAT, no firewall',
    samples([], {
      seen: [A, B].map((reflector) => ({ reflector, mapped: at('192.168.1.5', 5000) })),
      strangerCameIn: true,
      otherPortCameIn: true,
    }),
    { mapping: 'independent', filtering: 'independent', translated: false, keepsPort: true },
  ],
  [
    'no NAT, a firewall that lets in answers',
    samples([], {
      seen: [A, B].map((reflector) => ({ reflector, mapped: at('192.168.1.5', 5000) })),
      strangerCameIn: false,
      otherPortCameIn: false,
    }),
    { mapping: 'independent', filtering: 'address-and-port', translated: false, keepsPort: true },
  ],
  [
    'full cone',
    samples(
      [
        [A, 61_000],
        [B, 61_000],
      ],
      { strangerCameIn: true, otherPortCameIn: true },
    ),
    {
      mapping: 'independent',
      filtering: 'independent',
      translated: true,
      keepsPort: false,
      mapped: at(OUTSIDE, 61_000),
      address: OUTSIDE,
    },
  ],
  [
    'full cone that keeps the port',
    samples([
      [A, 5000],
      [B, 5000],
    ]),
    { mapping: 'independent', filtering: 'unknown', translated: true, keepsPort: true },
  ],
  [
    'restricted by address',
    samples(
      [
        [A, 61_000],
        [B, 61_000],
      ],
      { strangerCameIn: false, otherPortCameIn: true },
    ),
    { mapping: 'independent', filtering: 'address' },
  ],
  [
    'restricted by address and port',
    samples(
      [
        [A, 61_000],
        [A2, 61_000],
      ],
      { strangerCameIn: false, otherPortCameIn: false },
    ),
    { mapping: 'independent', filtering: 'address-and-port' },
  ],
  [
    'symmetric',
    samples(
      [
        [A, 61_000],
        [B, 61_001],
      ],
      { strangerCameIn: false, otherPortCameIn: false },
    ),
    { mapping: 'symmetric', mapped: undefined, address: OUTSIDE, keepsPort: false, translated: true },
  ],
  [
    'symmetric by the port alone',
    samples([
      [A, 61_000],
      [A2, 61_001],
    ]),
    { mapping: 'symmetric' },
  ],
  [
    'symmetric, the first time on its own port',
    samples([
      [A, 5000],
      [B, 5001],
    ]),
    { mapping: 'symmetric', keepsPort: false },
  ],
  [
    'a carrier with several public addresses',
    samples([], {
      seen: [
        { reflector: A, mapped: at('203.0.113.1', 61_000) },
        { reflector: B, mapped: at('203.0.113.2', 61_000) },
      ],
    }),
    { mapping: 'symmetric', mapped: undefined, address: undefined, translated: true },
  ],
  [
    'UDP blocked',
    samples([], { silent: [A, B], strangerCameIn: false }),
    { mapping: 'blocked', filtering: 'unknown', translated: false, mapped: undefined, address: undefined },
  ],
  ['nobody asked', samples([]), { mapping: 'unknown', filtering: 'unknown', translated: false, keepsPort: false }],
  ['one reflector', samples([[A, 61_000]]), { mapping: 'unknown', mapped: at(OUTSIDE, 61_000), address: OUTSIDE }],
  [
    'one reflector asked twice',
    samples([
      [A, 61_000],
      [A, 61_000],
    ]),
    { mapping: 'unknown' },
  ],
  [
    'one that answers, one that does not',
    samples(
      [
        [A, 61_000],
        [A2, 61_000],
      ],
      { silent: [B] },
    ),
    { mapping: 'independent' },
  ],
]

for (const [name, given, expected] of kinds) {
  test(`a NAT is judged by what reflectors saw: ${name}`, () => {
    const judged = judge(given)
    const told = Object.keys(expected).map((key) => [key, judged[key as keyof Judgement]])
    assert.deepEqual(Object.fromEntries(told), expected)
  })
}

test('a router that maps ports stands behind another when the world sees a different address, or its own is private', () => {
  const seen = samples([
    [A, 61_000],
    [B, 61_000],
  ])
  assert.equal(judge(seen).double, false)
  assert.equal(judge({ ...seen, gateway: OUTSIDE }).double, false)
  assert.equal(judge({ ...seen, gateway: '203.0.113.77' }).double, true)
  assert.equal(judge({ ...seen, gateway: '100.64.3.3' }).double, true)
  // Without a reflector only a private address of the router tells.
  assert.equal(judge(samples([], { gateway: '203.0.113.77' })).double, false)
  assert.equal(judge(samples([], { gateway: '192.168.0.2' })).double, true)
})

test('whether a NAT hairpins is told as it was seen', () => {
  for (const hairpinCameIn of [true, false, undefined]) {
    const given = samples([[A, 61_000]])
    assert.equal(judge(hairpinCameIn === undefined ? given : { ...given, hairpinCameIn }).hairpin, hairpinCameIn)
  }
})
