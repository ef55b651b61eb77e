import assert from 'node:assert/strict'
import { once } from 'node:events'
import * as http2 from 'node:http2'
import * as net from 'node:net'
import { type TestContext, test } from 'node:test'
import * as tls from 'node:tls'
import dnsPacket from 'dns-packet'
import { Connections } from '../../resolver/connections.ts'
import { createResolver, type EncryptedOptions, type ResolverOptions } from '../../resolver/index.ts'
import { padded } from '../../resolver/padding.ts'
import { Responder } from '../../resolver/responder.ts'
import { serveTcp } from '../../resolver/tcp.ts'
import { makeCertificate } from '../helpers/certificate.ts'
import { temporaryFolder } from '../helpers/folder.ts'
import { decode, lookupIn, NOW, query, zoneOf } from './harness.ts'

const ANY = { host: '127.0.0.1', port: 0 }

const now = () => NOW
const lookup = lookupIn({ 'alice.p2p': zoneOf([{ type: 'A', data: '192.0.2.1', ttl: 300 }]) }, now)
const options = (): ResolverOptions => ({ ...ANY, lookup, now })

function responder(t: TestContext): Responder {
  const made = new Responder({ lookup, known: undefined, upstream: undefined, lookupTimeout: 1_000, now })
  t.after(() => made.stop())
  return made
}

async function connectTls(port: number): Promise<tls.TLSSocket> {
  const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['dot'] })
  await once(socket, 'secureConnect')
  return socket
}

/** The answer to a question on a connection that waits for no other. */
async function askTls(socket: tls.TLSSocket, question: Buffer): Promise<Buffer> {
  const head = Buffer.alloc(2)
  head.writeUInt16BE(question.length)
  socket.write(Buffer.concat([head, question]))
  const [bytes] = (await once(socket, 'data')) as [Buffer]
  return bytes.subarray(2)
}

/** Whom the certificate there is made out to. */
async function titleAt(port: number): Promise<string> {
  const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  const { CN } = socket.getPeerCertificate().subject
  socket.destroy()
  return String(CN)
}

/** In order or not: `once` would be rejected by an error. */
function closed(connection: net.Socket | http2.ClientHttp2Session): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  connection.on('error', () => {})
  connection.on('close', resolve)
  return promise
}

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as net.AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** Whether nobody listens there. */
async function isFree(port: number): Promise<boolean> {
  const server = net.createServer().listen(port, '127.0.0.1')
  const free = await once(server, 'listening').then(
    () => true,
    () => false,
  )
  server.close()
  return free
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

test('DNS over TLS answers on the connection, padded for those who pad', async (t) => {
  const server = await serveTcp('127.0.0.1', 0, responder(t), makeCertificate(await temporaryFolder(t)))
  t.after(() => server.close())
  const socket = await connectTls(server.port)
  assert.equal(socket.alpnProtocol, 'dot')
  assert.ok((await askTls(socket, query('alice.p2p', { edns: 1232 }))).length < 100)
  const answer = await askTls(socket, padding('alice.p2p'))
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

test('all that was asked for answers, says where, and is gone after a stop, whoever is still connected', async (t) => {
  const certificate = makeCertificate(await temporaryFolder(t), { names: 'IP:127.0.0.1' })
  const resolver = await createResolver({ ...options(), doh: ANY, dot: ANY, tls: certificate })
  const { doh, dot } = resolver
  assert.ok(doh && dot)
  const overTls = await connectTls(dot.port)
  assert.equal(addressIn(await askTls(overTls, query('alice.p2p'))), '192.0.2.1')
  const session = http2.connect(doh, { ca: certificate.cert })
  const stream = session.request({ ':path': `/dns-query?dns=${query('alice.p2p').toString('base64url')}` })
  assert.equal(addressIn(Buffer.concat((await stream.toArray()) as Buffer[])), '192.0.2.1')
  // These two never end what they began: a handshake, and the head of a request.
  const silent = net.connect(dot.port, '127.0.0.1')
  const slow = tls.connect({ port: Number(new URL(doh).port), host: '127.0.0.1', rejectUnauthorized: false })
  await Promise.all([once(silent, 'connect'), once(slow, 'secureConnect')])
  slow.write('GET /dns')
  const gone = [overTls, silent, slow, session].map(closed)
  await resolver.stop()
  await Promise.all(gone)
  for (const port of [resolver.port, dot.port, Number(new URL(doh).port)]) assert.ok(await isFree(port))
})

test('when one place is taken nothing stays open, and the error names it', async (t) => {
  const certificate = makeCertificate(await temporaryFolder(t))
  const taken = net.createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  t.after(() => taken.close())
  const busy = { host: '127.0.0.1', port: (taken.address() as net.AddressInfo).port }
  const free = { host: '127.0.0.1', port: await freePort() }
  const inUse = { code: 'port_in_use', what: `127.0.0.1 port ${busy.port} is in use` }
  await assert.rejects(createResolver({ ...options(), dot: free, doh: busy, tls: certificate }), inUse)
  await assert.rejects(createResolver({ ...options(), dot: busy, doh: free, tls: certificate }), inUse)
  await assert.rejects(createResolver({ ...options(), ...busy, dot: free, tls: certificate }), inUse)
  assert.ok(await isFree(free.port))
  const elsewhere = createResolver({ ...options(), doh: { host: '192.0.2.1', port: 0 }, tls: certificate })
  await assert.rejects(elsewhere, { code: 'usage', what: '192.0.2.1 port 0 is not on this machine' })
})

test('without a certificate there is no DNS over TLS, and HTTP for this machine only', async () => {
  const cases: [EncryptedOptions, RegExp][] = [
    [{ dot: ANY }, /^DNS over TLS needs a certificate and its key \(--cert FILE --key FILE\)$/],
    [{ doh: { host: '0.0.0.0', port: 0 } }, /^DNS over HTTPS at 0\.0\.0\.0, which others reach, needs a certificate/],
    [{ doh: { host: '::', port: 0 } }, /which others reach/],
    [{ doh: { host: 'localhost', port: 0 } }, /^"localhost" is not an IP address/],
  ]
  for (const [given, what] of cases) {
    await assert.rejects(createResolver({ ...options(), ...given }), { code: 'usage', what })
  }
  const resolver = await createResolver({ ...options(), doh: { host: '127.0.0.1', port: 0 } })
  assert.match(resolver.doh ?? '', /^http:\/\/127\.0\.0\.1:\d+\/dns-query$/)
  await resolver.stop()
})

test('a renewed certificate is shown to whoever connects from then on', async (t) => {
  const folder = await temporaryFolder(t)
  const resolver = await createResolver({
    ...options(),
    doh: ANY,
    dot: ANY,
    tls: makeCertificate(folder, { title: 'first' }),
  })
  t.after(() => resolver.stop())
  const ports = [Number(new URL(resolver.doh ?? '').port), resolver.dot?.port ?? 0]
  const shown = (): Promise<string[]> => Promise.all(ports.map(titleAt))
  assert.deepEqual(await shown(), ['first', 'first'])
  resolver.renew(makeCertificate(folder, { title: 'second' }))
  assert.deepEqual(await shown(), ['second', 'second'])
})

test('over TLS a client learns how long the connection may be idle', async (t) => {
  const server = await serveTcp('127.0.0.1', 0, responder(t), makeCertificate(await temporaryFolder(t)))
  t.after(() => server.close())
  const bare = query('alice.p2p', { edns: 1232 })
  bare.writeUInt16BE(4, bare.length - 2)
  const socket = await connectTls(server.port)
  const { options } = decode(await askTls(socket, Buffer.concat([bare, Buffer.from([0, 11, 0, 0])])))
  assert.deepEqual(
    options.map(({ code }) => code),
    [11],
  )
  socket.destroy()
})

test('who sends nothing but scraps is hung up on, also in the middle of a TLS handshake', async (t) => {
  const connections = new Connections(30)
  const server = tls.createServer(makeCertificate(await temporaryFolder(t)))
  connections.watch(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  const socket = net.connect((server.address() as net.AddressInfo).port, '127.0.0.1')
  socket.write(Buffer.from([0x16, 3, 1]))
  await closed(socket)
})
