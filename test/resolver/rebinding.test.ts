import assert from 'node:assert/strict'
import { test } from 'node:test'
import { nameToWire } from '../../node/core/dns.ts'
import { addressBytes } from '../../node/core/hosts.ts'
import { isPrivate, privacyRule, showsPrivate } from '../../resolver/rebinding.ts'
import { a, respond, rr, startUpstream } from './fake-upstream.ts'
import { ask, decode, extendedErrorOf, lookupIn, NOW, overUdp, query, startResolver, zoneOf } from './harness.ts'

const bytes = (address: string): Buffer => Buffer.from(addressBytes(address))

test('addresses that mean something else to everybody are private, also inside IPv6 ones', () => {
  const inside = [
    ['0.0.0.0', '10.1.2.3', '100.64.0.1', '100.127.255.255', '127.0.0.1', '127.255.0.1', '169.254.169.254'],
    ['172.16.0.1', '172.31.255.255', '192.168.0.1', '255.255.255.255'],
    ['::', '::1', 'fc00::1', 'fdff::1', 'fe80::1', 'febf::1', 'fec0::1', '::ffff:10.0.0.1', '::127.0.0.1'],
    ['64:ff9b::192.168.1.1', '64:ff9b:1::1', '2002:c0a8:101::1'],
  ].flat()
  for (const address of inside) assert.ok(isPrivate(bytes(address)), address)
  const outside = [
    ['1.1.1.1', '9.255.255.255', '11.0.0.0', '100.63.255.255', '100.128.0.0', '126.255.255.255', '128.0.0.0'],
    ['169.253.0.1', '172.15.255.255', '172.32.0.0', '192.167.0.1', '192.169.0.1', '192.0.0.170', '255.255.255.254'],
    ['2606:4700::1111', '::ffff:1.1.1.1', '64:ff9b::1.1.1.1', '2002:101:101::1', 'fb00::1', 'fe7f::1', 'ff02::1'],
  ].flat()
  for (const address of outside) assert.ok(!isPrivate(bytes(address)), address)
})

test('a hint in an HTTPS record counts, and what cannot be read counts as well', () => {
  const https = (...params: number[][]): Buffer =>
    Buffer.concat([Buffer.from([0, 1]), nameToWire('www.example'), Buffer.from(params.flat())])
  const shows = (rdata: Buffer): boolean => showsPrivate({ type: 65, rdata })
  assert.equal(shows(https([0, 1, 0, 3, 2, 0x68, 0x32], [0, 4, 0, 8, 1, 1, 1, 1, 10, 0, 0, 1])), true)
  assert.equal(shows(https([0, 4, 0, 4, 1, 1, 1, 1])), false)
  assert.equal(shows(https([0, 6, 0, 16, 0xfd, ...Array<number>(15).fill(0)])), true)
  assert.equal(shows(https([0, 1, 0, 4, 10, 0, 0, 1])), false)
  assert.equal(shows(https([0, 4, 0, 3, 1, 1, 1])), true)
  assert.equal(shows(https([0, 4, 0, 8, 1, 1, 1, 1])), true)
  assert.equal(showsPrivate({ type: 1, rdata: Buffer.from([1, 1, 1]) }), true)
  assert.equal(showsPrivate({ type: 16, rdata: Buffer.from([10, 0, 0, 1]) }), false)
})

test('names that nobody outside can own may lead inside, and those that are allowed', () => {
  const rule = privacyRule(['Corp.Example.', 'p2p'], () => ['fritz.box'])
  for (const name of [
    'corp.example',
    'a.corp.example',
    'nas.home.arpa',
    'printer.local',
    'nas.fritz.box',
    'alice.p2p',
  ]) {
    assert.ok(rule(name), name)
  }
  for (const name of ['xcorp.example', 'example', 'box', 'corp.example.evil.test.example', 'localhost.example']) {
    assert.ok(!rule(name), name)
  }
  assert.ok(privacyRule(true, () => [])('example'))
  assert.ok(privacyRule(false, () => [])('localhost'))
  assert.ok(!privacyRule(false, () => ['', '.'])('example'))
})

test('a name of others loses its private addresses, keeps the rest, and whoever asked is told', async (t) => {
  const upstream = await startUpstream(t, (packet, send) =>
    send(respond(packet, { answers: [a('192.168.1.1'), a('198.51.100.1'), a('127.0.0.1')] })),
  )
  const lookup = lookupIn({}, () => NOW)
  const { port } = await startResolver(t, { lookup, upstream: upstream.address })
  const answer = await ask(port, 'evil.example', { edns: 1232 })
  assert.deepEqual(
    [answer.rcode, answer.answers?.map((record) => ('data' in record ? record.data : ''))],
    ['NOERROR', ['198.51.100.1']],
  )
  assert.equal(extendedErrorOf(answer)?.[0], 15)
  const open = await startResolver(t, { lookup, upstream: upstream.address, allowPrivate: ['evil.example'] })
  assert.equal((await ask(open.port, 'www.evil.example')).answers?.length, 3)
  assert.equal((await ask(open.port, 'www.example')).answers?.length, 1)
})

test('what is left of an answer still holds together when names in it pointed into what is gone', async (t) => {
  const upstream = await startUpstream(t, (packet, send) => {
    // The owner of the last record is written out in the one before, whose data is private.
    const alias = rr(5, nameToWire('host.example'))
    const named = rr(1, Buffer.from([10, 0, 0, 1]), 60, 'host.example')
    const at = 12 + 'www.example'.length + 2 + 4 + alias.length
    const second = a('198.51.100.9')
    second.writeUInt16BE(0xc000 | at, 0)
    send(respond(packet, { answers: [alias, named, second] }))
  })
  const { port } = await startResolver(t, { lookup: lookupIn({}, () => NOW), upstream: upstream.address })
  const { answers = [] } = await ask(port, 'www.example')
  assert.deepEqual(
    answers.map((record) => [record.name, 'data' in record && record.data]),
    [
      ['www.example', 'host.example'],
      ['host.example', '198.51.100.9'],
    ],
  )
})

test('a name of ours leads into the network of who asks only when that is allowed, and never by way of localhost', async (t) => {
  const zone = zoneOf([
    { type: 'A', data: '192.168.1.1' },
    { label: 'www', type: 'A', data: '192.0.2.1' },
    { label: 'home', type: 'CNAME', data: 'localhost.' },
  ])
  const lookup = lookupIn({ 'alice.p2p': zone }, () => NOW)
  const { port } = await startResolver(t, { lookup })
  const answer = await ask(port, 'alice.p2p', { edns: 1232 })
  assert.deepEqual([answer.rcode, answer.answers?.length, extendedErrorOf(answer)?.[0]], ['NOERROR', 0, 15])
  assert.equal((await ask(port, 'www.alice.p2p')).answers?.length, 1)
  const [home] = await overUdp(port, [query('home.alice.p2p')])
  assert.deepEqual(
    decode(home).answers?.map(({ type }) => type),
    ['CNAME'],
  )
  assert.equal((await ask(port, 'localhost')).answers?.length, 1)
  const open = await startResolver(t, { lookup, allowPrivate: ['alice.p2p'] })
  assert.equal((await ask(open.port, 'alice.p2p')).answers?.length, 1)
})
