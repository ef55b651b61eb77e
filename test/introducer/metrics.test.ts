import assert from 'node:assert/strict'
import { once } from 'node:events'
import * as net from 'node:net'
import { type TestContext, test } from 'node:test'
import { startMetrics } from '../../introducer/metrics.ts'

const HOST = '127.0.0.1'

async function started(t: TestContext) {
  const measured = { connections: 3, records: 7, counters: { get: 1, put: 2, claim: 4, refused: 5 } }
  const server = await startMetrics(
    { host: HOST, port: 0 },
    { connections: () => measured.connections, records: () => measured.records, counters: measured.counters },
  )
  t.after(() => server.stop())
  return { server, measured, url: `http://${HOST}:${server.port}` }
}

/** What the server sends back on `text`, until it closes. */
async function raw(port: number, text: string): Promise<string> {
  const socket = net.connect(port, HOST)
  socket.setEncoding('utf8')
  let answer = ''
  socket.on('data', (data: string) => (answer += data))
  socket.on('error', () => {})
  const closed = new Promise((resolve) => socket.on('close', resolve))
  socket.write(text)
  await closed
  return answer
}

test('health is told as JSON, with the connections of the moment', async (t) => {
  const { measured, url } = await started(t)
  measured.connections = 9
  const response = await fetch(`${url}/healthz`)
  assert.equal(response.status, 200)
  assert.deepEqual(await response.json(), { ok: true, connections: 9 })
})

test('metrics are told in the Prometheus text format, with the figures of the moment', async (t) => {
  const { measured, url } = await started(t)
  measured.counters.put = 42
  const response = await fetch(`${url}/metrics`)
  assert.match(response.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/)
  const lines = (await response.text()).split('\n')
  for (const line of [
    'p2pns_connections 3',
    'p2pns_records 7',
    'p2pns_requests_total{kind="get"} 1',
    'p2pns_requests_total{kind="put"} 42',
    'p2pns_requests_total{kind="claim"} 4',
    'p2pns_requests_total{kind="refused"} 5',
  ]) {
    assert.ok(lines.includes(line), line)
  }
  assert.ok(lines.some((line) => line.startsWith('process_resident_memory_bytes ')))
})

test('there is nothing else, and nothing can be changed', async (t) => {
  const { url } = await started(t)
  for (const path of ['/', '/metrics/', '/healthz/x', '/../etc/passwd', '/%00', '/%']) {
    assert.ok([400, 404].includes((await fetch(url + path)).status), path)
  }
  for (const method of ['POST', 'PUT', 'DELETE']) {
    const body = 'x'.repeat(10_000)
    assert.ok([404, 413, 415].includes((await fetch(`${url}/metrics`, { method, body })).status), method)
  }
})

test('what is no HTTP, or has endless headers, is cut off and the next is served', async (t) => {
  const { server, url } = await started(t)
  assert.match(await raw(server.port, '\x16\x03\x01\x02\x00\r\n\r\n'), /^HTTP\/1\.1 400 /)
  assert.match(await raw(server.port, `GET /healthz HTTP/1.1\r\nx: ${'y'.repeat(100_000)}`), /^(HTTP\/1\.1 431 .*)?/)
  assert.equal((await fetch(`${url}/healthz`)).status, 200)
})

test('of many connections that say nothing the 65th is turned away', async (t) => {
  const { server } = await started(t)
  const silent = Array.from({ length: 64 }, () => net.connect(server.port, HOST))
  await Promise.all(silent.map((socket) => once(socket, 'connect')))
  assert.equal(await raw(server.port, 'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n'), '')
  for (const socket of silent) socket.destroy()
})

test('a stop does not wait for who never finishes a request', async (t) => {
  const { server } = await started(t)
  const slow = net.connect(server.port, HOST)
  slow.on('error', () => {})
  slow.write('GET /healthz HTTP/1.1\r\nHost: ')
  await once(slow, 'connect')
  // Until the server has seen it, since a connection that it has not is none that it could wait for.
  assert.match(await raw(server.port, 'GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'), / 200 OK/)
  const closed = once(slow.resume(), 'close')
  await server.stop()
  await closed
})

test('a port in use, and an address that is not ours, are errors that name it', async (t) => {
  const { server } = await started(t)
  const measured = { connections: () => 0, records: () => 0, counters: { get: 0, put: 0, claim: 0, refused: 0 } }
  await assert.rejects(startMetrics({ host: HOST, port: server.port }, measured), {
    code: 'port_in_use',
    message: new RegExp(`${server.port}`),
  })
  await assert.rejects(startMetrics({ host: '192.0.2.1', port: 0 }, measured), {
    code: 'port_in_use',
    message: /192\.0\.2\.1/,
  })
})
