import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { homeFolder } from '../../cli/home.ts'
import { formatHostPort, hostPort, seconds } from '../../cli/options.ts'
import { recordsOf } from '../../cli/records.ts'
import { defaultOut, looksLikeCid } from '../../cli/targets.ts'
import { isError } from '../../node/core/errors.ts'
import { CID } from './fake-world.ts'

test('a host and port is read in every form and written back the same', () => {
  for (const text of ['127.0.0.1:5354', 'localhost:0', '[::1]:53', '[fe80::1]:65535']) {
    assert.equal(formatHostPort(hostPort(text)), text)
  }
  for (const text of ['', '5354', ':5354', '127.0.0.1', '127.0.0.1:65536', '::1:53', '127.0.0.1:-1', 'a b:1', 'a:1 ']) {
    assert.throws(() => hostPort(text), /It looks like/, text)
  }
})

test('any port of any IPv4 or IPv6 address survives the round trip', () => {
  fc.assert(
    fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), fc.integer({ min: 0, max: 65_535 }), (host, port) => {
      assert.deepEqual(hostPort(formatHostPort({ host, port })), { host, port })
    }),
  )
})

test('seconds are whole and positive', () => {
  assert.equal(seconds('300'), 300)
  for (const text of ['0', '-1', '1.5', '1e3', '', 'x', '01', '9999999999']) assert.throws(() => seconds(text), text)
})

test('the home is what --home says, then P2PNS_HOME, then the XDG folder', () => {
  const env = { P2PNS_HOME: '/p', XDG_DATA_HOME: '/x', HOME: '/h' }
  assert.equal(homeFolder('rel', env, '/work'), '/work/rel')
  assert.equal(homeFolder(undefined, env, '/work'), '/p')
  assert.equal(homeFolder(undefined, { ...env, P2PNS_HOME: '' }, '/work'), '/x/p2pns')
  assert.equal(homeFolder(undefined, { XDG_DATA_HOME: 'relative', HOME: '/h' }, '/work'), '/h/.local/share/p2pns')
})

test('each record option becomes a record in presentation form', () => {
  assert.deepEqual(
    recordsOf({
      a: ['192.0.2.7', '192.0.2.8'],
      aaaa: ['2001:db8::7'],
      txt: ['say "hi" \\o/'],
      srv: ['_http._tcp  0 0 8080 alice.p2p'],
      record: ['mx 10 mail.alice.p2p', 'TYPE65 \\# 3 000100'],
      ttl: 60,
    }),
    [
      { type: 'A', data: '192.0.2.7', ttl: 60 },
      { type: 'A', data: '192.0.2.8', ttl: 60 },
      { type: 'AAAA', data: '2001:db8::7', ttl: 60 },
      { type: 'TXT', data: '"say \\"hi\\" \\\\o/"', ttl: 60 },
      { type: 'SRV', data: '0 0 8080 alice.p2p', label: '_http._tcp', ttl: 60 },
      { type: 'MX', data: '10 mail.alice.p2p', ttl: 60 },
      { type: 'TYPE65', data: '\\# 3 000100', ttl: 60 },
    ],
  )
  assert.deepEqual(recordsOf({}), [])
})

test('a record option with the wrong number of words is a usage error', () => {
  for (const srv of ['', '_http._tcp', '_http._tcp 0 0 8080', '_http._tcp 0 0 8080 a.p2p b']) {
    assert.throws(
      () => recordsOf({ srv: [srv] }),
      (error) => isError(error, 'usage'),
    )
  }
  for (const record of ['', 'MX', 'MX ', '10 mail']) {
    assert.throws(
      () => recordsOf({ record: [record] }),
      (error) => isError(error, 'usage'),
    )
  }
})

test('a CID is told from a path by its form', () => {
  assert.ok(looksLikeCid(CID))
  for (const path of ['b', './photos', `./${CID}`, CID.slice(1), `${CID}/x`, CID.toUpperCase()]) {
    assert.ok(!looksLikeCid(path), path)
  }
})

test('a fetch without -o goes to the last part of its target', () => {
  const cases: [string, string][] = [
    ['alice.p2p', 'alice.p2p'],
    ['alice.p2p/', 'alice.p2p'],
    ['alice.p2p/2026/beach.jpg', 'beach.jpg'],
    [`${CID}/a b`, 'a b'],
    [`p2pns:${CID}`, CID],
    [`p2pns://${CID}/x?name=y#z`, 'x'],
    ['', 'fetched'],
  ]
  for (const [target, out] of cases) assert.equal(defaultOut(target), out)
})
