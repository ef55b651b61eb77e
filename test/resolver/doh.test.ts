import assert from 'node:assert/strict'
import { once } from 'node:events'
import * as http from 'node:http'
import * as http2 from 'node:http2'
import * as https from 'node:https'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { type TestContext, test } from 'node:test'
import { type DohServer, serveDoh } from '../../resolver/doh.ts'
import { Responder } from '../../resolver/responder.ts'
import type { Certificate } from '../../resolver/tcp.ts'
import { lowestTtl } from '../../resolver/ttl.ts'
import { makeCertificate } from '../helpers/certificate.ts'
import { temporaryFolder } from '../helpers/folder.ts'
import { decode, lookupIn, NOW, query, zoneOf } from './harness.ts'

const MEDIA_TYPE = 'application/dns-message'

async function startDoh(t: TestContext, tls?: Certificate): Promise<DohServer> {
  const now = () => NOW
  const texts = Array.from({ length: 7 }, (_, i) => ({ label: 'large', type: 'TXT', data: `"${i} ${'x'.repeat(90)}"` }))
  const zone = zoneOf([
    { type: 'A', data: '192.0.2.1', ttl: 300 },
    { label: 'short', type: 'A', data: '192.0.2.2', ttl: 60 },
    ...texts,
  ])
  const responder = new Responder({
    lookup: lookupIn({ 'alice.p2p': zone }, now),
    known: undefined,
    upstream: undefined,
    lookupTimeout: 1_000,
    now,
  })
  const doh = await serveDoh('127.0.0.1', 0, responder, tls)
  t.after(async () => {
    responder.stop()
    await doh.close()
  })
  return doh
}

const get = (doh: DohServer, packet: Buffer): Promise<Response> =>
  fetch(`${doh.url}?dns=${packet.toString('base64url')}`)

const post = (doh: DohServer, body: Uint8Array<ArrayBuffer> | string | null, type = MEDIA_TYPE): Promise<Response> =>
  fetch(doh.url, { method: 'POST', headers: { 'content-type': type }, body })

const bytesOf = async (response: Response): Promise<Buffer> => Buffer.from(await response.arrayBuffer())

const addressIn = (answer: Buffer): unknown => {
  const [first] = decode(answer).answers ?? []
  return first && 'data' in first ? first.data : undefined
}

/** With one option, of that code, in its OPT. */
function withOption(name: string, code: number, data: Buffer): Buffer {
  const bare = query(name, { edns: 1232 })
  bare.writeUInt16BE(4 + data.length, bare.length - 2)
  return Buffer.concat([bare, Buffer.from([0, code, 0, data.length]), data])
}

test('DNS over HTTPS answers GET and POST, and says how long the answer holds', async (t) => {
  const doh = await startDoh(t)
  const short = await get(doh, query('short.alice.p2p', { id: 0 }))
  const { status, headers } = short
  assert.deepEqual([status, headers.get('content-type'), headers.get('cache-control')], [200, MEDIA_TYPE, 'max-age=60'])
  assert.equal(addressIn(await bytesOf(short)), '192.0.2.2')
  const posted = await post(doh, new Uint8Array(query('alice.p2p')))
  assert.equal(posted.headers.get('cache-control'), 'max-age=300')
  assert.equal(addressIn(await bytesOf(posted)), '192.0.2.1')
})

test('a name that is missing is an answer like others, and holds as long as its SOA says', async (t) => {
  const doh = await startDoh(t)
  const told = async (name: string, type: number): Promise<unknown[]> => {
    const response = await get(doh, query(name, { type }))
    return [response.status, response.headers.get('cache-control'), decode(await bytesOf(response)).rcode]
  }
  assert.deepEqual(await told('nobody.p2p', 1), [200, 'max-age=30', 'NXDOMAIN'])
  assert.deepEqual(await told('alice.p2p', 28), [200, 'max-age=300', 'NOERROR'])
  assert.deepEqual(await told('dns.example', 1), [200, 'max-age=0', 'REFUSED'])
})

/** A message for `a.` without a question: `[type, ttl, data]` of the answer, then of the authority. */
function message(answers: [number, number, Buffer][], authorities: [number, number, Buffer][]): Buffer {
  const head = Buffer.alloc(12)
  head.writeUInt16BE(answers.length, 6)
  head.writeUInt16BE(authorities.length, 8)
  const records = [...answers, ...authorities].map(([type, ttl, data]) => {
    const fixed = Buffer.alloc(13)
    fixed.set([1, 97, 0])
    fixed.writeUInt16BE(type, 3)
    fixed.writeUInt16BE(1, 5)
    fixed.writeUInt32BE(ttl, 7)
    fixed.writeUInt16BE(data.length, 11)
    return Buffer.concat([fixed, data])
  })
  return Buffer.concat([head, ...records])
}

test('what counts is the lowest TTL of the answer, and where there is none the SOA with its minimum', () => {
  const [a, ns, soa] = [1, 2, 6]
  const address = Buffer.from([192, 0, 2, 1])
  const name = Buffer.from([1, 97, 0])
  const minimum = (seconds: number): Buffer => {
    const numbers = Buffer.alloc(20, 0xff)
    numbers.writeUInt32BE(seconds, 16)
    return Buffer.concat([name, name, numbers])
  }
  const answer: [number, number, Buffer][] = [
    [a, 300, address],
    [a, 200, address],
  ]
  assert.equal(lowestTtl(message(answer, [[ns, 60, name]])), 200)
  assert.equal(lowestTtl(message([], [[soa, 900, minimum(45)]])), 45)
  assert.equal(lowestTtl(message([], [[soa, 20, minimum(45)]])), 20)
  // An alias whose target does not exist.
  assert.equal(lowestTtl(message(answer, [[soa, 900, minimum(45)]])), 45)
  assert.equal(lowestTtl(message([], [[ns, 60, name]])), 0)
  assert.equal(lowestTtl(message(answer, []).subarray(0, 20)), 0)
})

test('what is no DNS query over HTTPS is a client error, which says its number and nothing else', async (t) => {
  const doh = await startDoh(t)
  // 26 bytes: 2 bits of the last character are not used.
  const good = query('alic.p2p').toString('base64url')
  const cases: [number, () => Promise<Response>][] = [
    [400, () => fetch(doh.url)],
    [400, () => fetch(`${doh.url}?dns=`)],
    [400, () => fetch(`${doh.url}?dns=a+b`)],
    [400, () => fetch(`${doh.url}?dns=AAAA`)],
    // Padded, and with bits that mean nothing.
    [400, () => fetch(`${doh.url}?dns=${good}=`)],
    [400, () => fetch(`${doh.url}?dns=${good.slice(0, -1)}F`)],
    [400, () => fetch(`${doh.url}?dns=${good}&dns=${good}`)],
    [414, () => fetch(`${doh.url}?dns=${'A'.repeat(6000)}`)],
    [400, () => post(doh, new Uint8Array(5))],
    [400, () => post(doh, null)],
    [415, () => post(doh, new Uint8Array(50), 'text/plain')],
    [415, () => post(doh, '{}', 'application/json')],
    [413, () => post(doh, new Uint8Array(5000))],
    [404, () => fetch(doh.url.replace('dns-query', 'other'))],
    [404, () => fetch(doh.url.replace('dns-query', ''))],
    [400, () => fetch(doh.url.replace('dns-query', '%zz'))],
    [
      405,
      () =>
        fetch(doh.url, {
          method: 'PUT',
          body: new Uint8Array(query('alice.p2p')),
          headers: { 'content-type': MEDIA_TYPE },
        }),
    ],
    [405, () => fetch(doh.url, { method: 'OPTIONS', headers: { origin: 'https://evil.example' } })],
  ]
  for (const [i, [status, asked]] of cases.entries()) {
    const response = await asked()
    assert.deepEqual([response.status, await response.text()], [status, ''], `case ${i}`)
    const told = [...response.headers.keys()].filter((name) => /^(server|x-|access-control)/.test(name))
    assert.deepEqual(told, [])
    if (status === 405) assert.equal(response.headers.get('allow'), 'GET, HEAD, POST')
  }
})

test('what is no HTTP gets a number too, and the connection ends', async (t) => {
  const doh = await startDoh(t)
  const socket = connect(doh.port, '127.0.0.1')
  socket.write('rubbish\r\n\r\n')
  assert.equal(await text(socket), 'HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n')
})

test('no page of another site may read an answer', async (t) => {
  const doh = await startDoh(t)
  const response = await fetch(`${doh.url}?dns=${query('alice.p2p').toString('base64url')}`, {
    headers: { origin: 'https://evil.example' },
  })
  assert.deepEqual(
    [...response.headers.keys()].filter((name) => name.startsWith('access-control')),
    [],
  )
})

test('an answer over HTTPS is whole, however large', async (t) => {
  const doh = await startDoh(t)
  const bytes = await bytesOf(await post(doh, new Uint8Array(query('large.alice.p2p', { type: 16 }))))
  assert.equal(bytes.readUInt16BE(2) & 0x0200, 0, 'TC')
  assert.equal(decode(bytes).answers?.length, 7)
  assert.ok(bytes.length > 700)
})

test('over HTTPS there is neither keepalive nor cookie, for HTTP keeps the connection and caches keep the answer', async (t) => {
  const doh = await startDoh(t)
  const [COOKIE, KEEPALIVE] = [10, 11]
  for (const [code, data] of [
    [KEEPALIVE, Buffer.alloc(0)],
    // Over TCP this is FORMERR.
    [KEEPALIVE, Buffer.alloc(2)],
    [COOKIE, Buffer.alloc(8, 1)],
  ] as const) {
    const answer = decode(await bytesOf(await get(doh, withOption('alice.p2p', code, data))))
    assert.deepEqual([answer.rcode, answer.options], ['NOERROR', []])
  }
})

test('with a certificate it speaks HTTP/2, many questions at once, and HTTP/1.1', async (t) => {
  const certificate = makeCertificate(await temporaryFolder(t), { names: 'IP:127.0.0.1' })
  const doh = await startDoh(t, certificate)
  assert.equal(doh.url, `https://127.0.0.1:${doh.port}/dns-query`)
  const session = http2.connect(doh.url, { ca: certificate.cert })
  t.after(() => session.destroy())
  const asked = ['alice.p2p', 'short.alice.p2p', 'nobody.p2p'].map(async (name) => {
    const stream = session.request({ ':path': `/dns-query?dns=${query(name).toString('base64url')}` })
    const [headers] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders]
    const chunks = (await stream.toArray()) as Buffer[]
    return [headers[':status'], addressIn(Buffer.concat(chunks))]
  })
  assert.deepEqual(await Promise.all(asked), [
    [200, '192.0.2.1'],
    [200, '192.0.2.2'],
    [200, undefined],
  ])
  assert.equal(session.alpnProtocol, 'h2')
  const request = https.get(`${doh.url}?dns=${query('alice.p2p').toString('base64url')}`, { ca: certificate.cert })
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  assert.deepEqual([response.httpVersion, response.statusCode], ['1.1', 200])
  assert.equal(addressIn(Buffer.concat((await response.toArray()) as Buffer[])), '192.0.2.1')
})

test('its URL has a name that the certificate holds for', async (t) => {
  const doh = await startDoh(t, makeCertificate(await temporaryFolder(t), { names: 'DNS:*.example,DNS:dns.example' }))
  assert.equal(doh.url, `https://dns.example:${doh.port}/dns-query`)
})

test('over plain HTTP a page that was led here under its own name learns nothing', async (t) => {
  const { port } = await startDoh(t)
  const statusFor = async (host: string): Promise<number | undefined> => {
    const path = `/dns-query?dns=${query('alice.p2p').toString('base64url')}`
    const [response] = (await once(http.get({ host: '127.0.0.1', port, path, headers: { host } }), 'response')) as [
      http.IncomingMessage,
    ]
    response.resume()
    return response.statusCode
  }
  const hosts = ['127.0.0.1', `127.0.0.1:${port}`, 'localhost', '[::1]:80', 'evil.example', '127.0.0.1.evil.example']
  assert.deepEqual(await Promise.all(hosts.map(statusFor)), [200, 200, 200, 200, 421, 421])
})
