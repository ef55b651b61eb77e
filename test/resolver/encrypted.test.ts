import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import * as path from 'node:path'
import { type TestContext, test } from 'node:test'
import * as tls from 'node:tls'
import dnsPacket from 'dns-packet'
import { serveDoh } from '../../resolver/doh.ts'
import { padded } from '../../resolver/padding.ts'
import { Responder } from '../../resolver/responder.ts'
import { serveTcp } from '../../resolver/tcp.ts'
import { temporaryFolder } from '../helpers/folder.ts'
import { lookupIn, NOW, query, zoneOf } from './harness.ts'

const MEDIA_TYPE = 'application/dns-message'

function responder(t: TestContext): Responder {
  const zone = zoneOf([
    { type: 'A', data: '192.0.2.1', ttl: 300 },
    { label: 'short', type: 'A', data: '192.0.2.2', ttl: 60 },
  ])
  const now = () => NOW
  const made = new Responder({
    lookup: lookupIn({ 'alice.p2p': zone }, now),
    known: undefined,
    upstream: undefined,
    lookupTimeout: 1_000,
    now,
  })
  t.after(() => made.stop())
  return made
}

async function certificate(t: TestContext): Promise<{ cert: string; key: string }> {
  const folder = await temporaryFolder(t)
  const [cert, key] = [path.join(folder, 'cert'), path.join(folder, 'key')]
  const args = [
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-subj',
    '/CN=localhost',
  ]
  execFileSync('openssl', [...args, '-days', '2', '-keyout', key, '-out', cert], { stdio: 'ignore' })
  return { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') }
}

/** A query that asks for padding (RFC 7830): an OPT with an empty option 12. */
function padding(name: string): Buffer {
  const bare = query(name, { edns: 1232 })
  bare.writeUInt16BE(4, bare.length - 2)
  return Buffer.concat([bare, Buffer.from([0, 12, 0, 0])])
}

const addressIn = (answer: Uint8Array): unknown => {
  const [first] = dnsPacket.decode(Buffer.from(answer)).answers ?? []
  return first && 'data' in first ? first.data : undefined
}

test('DNS over HTTPS answers GET and POST, and says how long the answer holds', async (t) => {
  const doh = await serveDoh({ host: '127.0.0.1', port: 0 }, responder(t))
  t.after(() => doh.stop())
  const question = query('short.alice.p2p', { id: 0 })
  const get = await fetch(`${doh.url}?dns=${question.toString('base64url')}`)
  assert.deepEqual(
    [get.status, get.headers.get('content-type'), get.headers.get('cache-control')],
    [200, MEDIA_TYPE, 'max-age=60'],
  )
  assert.equal(addressIn(new Uint8Array(await get.arrayBuffer())), '192.0.2.2')
  const post = await fetch(doh.url, {
    method: 'POST',
    headers: { 'content-type': MEDIA_TYPE },
    body: query('alice.p2p'),
  })
  assert.equal(post.headers.get('cache-control'), 'max-age=300')
  assert.equal(addressIn(new Uint8Array(await post.arrayBuffer())), '192.0.2.1')
})

test('what is no DNS query over HTTPS is a client error', async (t) => {
  const doh = await serveDoh({ host: '127.0.0.1', port: 0 }, responder(t))
  t.after(() => doh.stop())
  const post = (type: string, body: Uint8Array<ArrayBuffer>) =>
    fetch(doh.url, { method: 'POST', headers: { 'content-type': type }, body })
  const statuses = [
    (await fetch(doh.url)).status,
    (await fetch(`${doh.url}?dns=`)).status,
    (await fetch(`${doh.url}?dns=a+b`)).status,
    (await fetch(`${doh.url}?dns=AAAA`)).status,
    (await post(MEDIA_TYPE, new Uint8Array(5))).status,
    (await post('text/plain', new Uint8Array(50))).status,
    (await post(MEDIA_TYPE, new Uint8Array(5000))).status,
    (await fetch(doh.url.replace('dns-query', 'other'))).status,
  ]
  assert.deepEqual(statuses, [400, 400, 400, 400, 400, 415, 413, 404])
})

test('DNS over TLS answers on the connection, padded for those who pad', async (t) => {
  const server = await serveTcp('127.0.0.1', 0, responder(t), await certificate(t))
  t.after(() => server.close())
  const socket = tls.connect({
    port: server.port,
    host: '127.0.0.1',
    rejectUnauthorized: false,
    ALPNProtocols: ['dot'],
  })
  await once(socket, 'secureConnect')
  assert.equal(socket.alpnProtocol, 'dot')
  const ask = async (question: Buffer): Promise<Buffer> => {
    const head = Buffer.alloc(2)
    head.writeUInt16BE(question.length)
    socket.write(Buffer.concat([head, question]))
    const [bytes] = (await once(socket, 'data')) as [Buffer]
    return bytes.subarray(2)
  }
  assert.ok((await ask(query('alice.p2p', { edns: 1232 }))).length < 100)
  const answer = await ask(padding('alice.p2p'))
  assert.equal(answer.length, 468)
  assert.equal(addressIn(answer), '192.0.2.1')
  socket.destroy()
})

test('padding fills whole blocks, and only where an OPT that stands last can hold it', () => {
  const response = query('alice.p2p', { edns: 1232, flags: 0x8180 })
  const long = padded(padding('alice.p2p'), response)
  assert.equal(long.length, 468)
  assert.deepEqual(dnsPacket.decode(long).questions, dnsPacket.decode(response).questions)
  assert.equal(padded(query('alice.p2p', { edns: 1232 }), response), response)
  const bare = query('alice.p2p', { flags: 0x8180 })
  assert.equal(padded(padding('alice.p2p'), bare), bare)
  assert.equal(padded(Buffer.alloc(3), response), response)
})
