import assert from 'node:assert/strict'
import { isIPv4, isIPv6 } from 'node:net'
import { test } from 'node:test'
import * as fc from 'fast-check'
import type { CborValue } from '../../node/core/encoding.ts'
import {
  addressBytes,
  addressText,
  type Host,
  hostFields,
  hostText,
  MAX_HOSTS,
  parseHosts,
  plainHost,
  sameHost,
  scopeOf,
} from '../../node/core/hosts.ts'

/** Half of all bytes are zero, so that runs of zeros of every length and place are common. */
const ipv6Bytes = fc
  .array(fc.oneof(fc.constant(0), fc.nat(0xffff), fc.nat(0xf)), { minLength: 8, maxLength: 8 })
  .map((groups) => Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 0xff])))

/** How a browser writes the address: by the same rules, in code that is not ours. */
function canonical(address: string): string {
  return new URL(`http://[${address}]/`).hostname.slice(1, -1)
}

test('an IPv6 address is spelt as RFC 5952 says', () => {
  const cases: [spelling: string, text: string][] = [
    ['2001:0db8::0001', '2001:db8::1'],
    ['2001:db8:0:0:0:0:2:1', '2001:db8::2:1'],
    ['2001:db8::1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:DB8::ABCD', '2001:db8::abcd'],
    ['1:0:0:0:0:0:0:0', '1::'],
    ['10:0:0:100:0:0:0:0', '10:0:0:100::'],
    ['0:0:0:0:0:0:0:0', '::'],
    ['0:0:0:0:0:0:0:1', '::1'],
    ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
    ['fe80::1%eth0', 'fe80::1'],
  ]
  for (const [spelling, text] of cases) assert.equal(addressText(addressBytes(spelling)), text, spelling)
})

test('any 16 bytes become the one canonical text, and the same bytes again', () => {
  fc.assert(
    fc.property(ipv6Bytes, (bytes) => {
      const text = addressText(bytes)
      assert.ok(isIPv6(text), text)
      assert.equal(text, canonical(text))
      assert.deepEqual(addressBytes(text), bytes)
    }),
  )
})

test('every spelling of an IPv6 address is the same bytes', () => {
  fc.assert(
    fc.property(fc.ipV6(), (spelling) => {
      assert.equal(addressText(addressBytes(spelling)), canonical(spelling), spelling)
    }),
  )
})

test('any 4 bytes become a dotted address, and the same bytes again', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 4, maxLength: 4 }), (bytes) => {
      const text = addressText(bytes)
      assert.ok(isIPv4(text), text)
      assert.deepEqual(addressBytes(text), Uint8Array.from(bytes))
    }),
  )
})

test('an IPv4 address as an IPv6 socket tells it is the IPv4 address', () => {
  assert.deepEqual(addressBytes('::FFFF:192.0.2.7'), Uint8Array.of(192, 0, 2, 7))
  assert.equal(plainHost('::ffff:192.0.2.7'), '192.0.2.7')
  assert.equal(plainHost('::ffff:1'), '::ffff:1')
})

test('what is no IP address has no bytes', () => {
  for (const host of ['', 'example.com', '1.2.3', '1.2.3.256', '1::2::3', ':::', '12345::', '::1/64']) {
    assert.throws(() => addressBytes(host), RangeError, host)
  }
})

test('a host is the same after its bytes', () => {
  const hosts: Host[] = [
    { use: 'tcp', host: '192.0.2.1', port: 1 },
    { use: 'punch', host: '2001:db8::1', port: 65_535 },
    { use: 'udp', host: '127.0.0.1', port: 4001 },
  ]
  assert.deepEqual(parseHosts(hosts.map(hostFields), 'A call'), hosts)
  assert.deepEqual(hosts.map(hostText), ['192.0.2.1:1', '[2001:db8::1]:65535', '127.0.0.1:4001'])
})

test('hosts of a wrong use, address or port are refused, and too many of them', () => {
  const good: CborValue[] = [0, Uint8Array.of(192, 0, 2, 1), 4001]
  const cases: CborValue[] = [
    [3, good[1] as CborValue, 4001],
    [0, new Uint8Array(5), 4001],
    [0, new Uint8Array(0), 4001],
    [0, '192.0.2.1', 4001],
    [0, good[1] as CborValue, 0],
    [0, good[1] as CborValue, 65_536],
    [0, good[1] as CborValue],
    [...good, 1],
    'nothing',
  ]
  const many = (length: number) => Array.from({ length }, () => good)
  for (const item of cases) assert.throws(() => parseHosts([good, item], 'A call'), { code: 'malformed' })
  assert.equal(parseHosts(many(MAX_HOSTS), 'A call').length, MAX_HOSTS)
  assert.throws(() => parseHosts(many(MAX_HOSTS + 1), 'A call'), { code: 'malformed' })
  assert.throws(() => parseHosts(undefined, 'A call'), { code: 'malformed' })
})

test('two hosts are the same when address and port are', () => {
  const one = { host: '192.0.2.1', port: 1 }
  assert.ok(sameHost(one, { ...one }))
  assert.ok(!sameHost(one, { ...one, port: 2 }))
  assert.ok(!sameHost(one, { ...one, host: '192.0.2.2' }))
})

test('an address is of this machine, of this site, of the world or of nobody', () => {
  const scopes = {
    loopback: ['127.0.0.1', '127.255.255.255', '0.0.0.0', '::1', '::', '::ffff:127.0.0.1', '::ffff:7f00:1'],
    private: [
      ['10.0.0.1', '172.16.0.1', '172.31.255.255', '192.168.1.1', '169.254.1.1', '100.64.0.1', '100.127.255.255'],
      ['fd00::1', 'fc00::1', 'fe80::1', 'fe80::1%eth0', '::ffff:10.0.0.1'],
    ].flat(),
    public: ['9.255.255.255', '11.0.0.1', '172.15.255.255', '172.32.0.0', '100.128.0.0', '192.0.2.1', '2001:db8::1'],
    none: ['224.0.0.1', '239.255.255.255', '255.255.255.255', 'ff02::1'],
  }
  for (const [scope, hosts] of Object.entries(scopes)) {
    for (const host of hosts) assert.equal(scopeOf(host), scope, host)
  }
})
