/**
 * The local API: what a running node can do, for the command line, through a unix socket in its home (mode 0600, in a
 * folder of mode 0700). `POST /<method>` with JSON arguments; the answer is a stream of JSON lines: any number of
 * `{"progress":...}`, then one `{"result":...}` or `{"error":...}`. Hanging up cancels the work.
 */
import { once } from 'node:events'
import * as fs from 'node:fs/promises'
import { PassThrough } from 'node:stream'
import type { FastifyError } from 'fastify'
import { answers, BODY_LIMIT, type Method, type RangeArguments, socketPath } from './api-client.ts'
import type { FetchRequest, Job, Limits, P2pnsNode, Policy, Progress, RangeStream } from './contract.ts'
import { isError, P2pnsError } from './core/errors.ts'

/** Bytes of a socket's path, the final NUL of sun_path (unix(7)) not counted. */
const MAX_SOCKET_PATH = process.platform === 'linux' ? 107 : 103
/** Milliseconds between two progress lines of one call. */
const PROGRESS_EVERY_MS = 100

/** How the arguments of each method come from one JSON object, and where the job's options go. */
const CALLS: Record<Method, (node: P2pnsNode, args: never, job: Job) => Promise<unknown>> = {
  register: (node, { request }: { request: Parameters<P2pnsNode['register']>[0] }, job) => node.register(request, job),
  resolve: (node, { name, type, policy, trace }: ResolveArguments, { signal }) =>
    node.resolve(name, type, {
      ...(policy ? { policy } : {}),
      ...(signal ? { signal } : {}),
      ...(trace ? { trace } : {}),
    }),
  share: (node, { path: target, as }: { path: string; as?: string }, job) =>
    node.share(target, { ...job, ...(as ? { as } : {}) }),
  fetch: (node, { target, request }: { target: string; request: FetchRequest }, job) =>
    node.fetch(target, { ...request, ...job }),
  transfers: (node) => node.transfers(),
  pauseTransfer: (node, { id }: { id: string }) => node.pauseTransfer(id),
  resumeTransfer: (node, { id }: { id: string }) => node.resumeTransfer(id),
  removeTransfer: (node, { id, files }: { id: string; files?: boolean }) =>
    node.removeTransfer(id, files ? { files } : {}),
  setLimits: (node, { limits }: { limits: Limits }) => node.setLimits(limits),
  manifest: (node, { target, all }: { target: string; all?: boolean }, { signal }) =>
    node.manifest(target, { ...(all ? { all } : {}), ...(signal ? { signal } : {}) }),
  verifyManifest: (node, { target, path: place }: { target: string; path: string }, job) =>
    node.verifyManifest(target, place, job),
  diagnose: (node, { peer }: { peer?: string }, job) =>
    node.diagnose({ ...job, ...(peer === undefined ? {} : { peer }) }),
  probe: (node, { whom, size }: { whom: string; size?: number }, job) =>
    node.probe(whom, { ...job, ...(size === undefined ? {} : { size }) }),
  status: (node) => node.status(),
  peers: (node) => node.peers(),
  keys: (node) => node.keys(),
  clearCache: (node) => node.clearCache(),
  unshare: (node, { what }: { what: string }) => node.unshare(what),
  transfer: (node, { request }: Request<'transfer'>, job) => node.transfer(request, job),
  rotate: (node, { request }: Request<'rotate'>, job) => node.rotate(request, job),
  release: (node, { request }: Request<'release'>, job) => node.release(request, job),
  renew: (node, { request }: Request<'renew'>, job) => node.renew(request, job),
  receive: (node, { request }: Request<'receive'>, job) => node.receive(request, job),
  recoveryShown: (node, { name }: { name: string }) => node.recoveryShown(name),
  trust: (node) => node.trust(),
  setPetname: (node, { pet, target }: { pet: string; target?: string }, { signal }) =>
    node.setPetname(pet, target, signal ? { signal } : {}),
  acceptOwner: (node, { name, keyName }: { name: string; keyName?: string }) => node.acceptOwner(name, keyName),
  forget: (node, { name }: { name: string }) => node.forget(name),
  reportProof: (node, { proof }: { proof: string }) => node.reportProof(proof),
  exportProof: (node, { what }: { what: string }) => node.exportProof(what),
}

interface ResolveArguments {
  name: string
  type?: string
  policy?: Policy
  trace?: boolean
}

/** The arguments of a method whose first parameter is an object. */
interface Request<M extends Method> {
  request: Parameters<P2pnsNode[M]>[0]
}

/** Serves `node` until stopped. Errors: node_running when another node serves this home. */
export async function serveApi(node: P2pnsNode, home: string): Promise<{ stop(): Promise<void> }> {
  const { fastify } = await import('fastify')
  const socket = socketPath(home)
  if (Buffer.byteLength(socket) > MAX_SOCKET_PATH) {
    throw new P2pnsError('usage', `The path of the home ${home} is too long for a socket in it`)
  }
  if (await answers(socket)) throw new P2pnsError('node_running', `A node already runs in ${home}`)
  await fs.rm(socket, { force: true })

  const server = fastify({ bodyLimit: BODY_LIMIT, requestTimeout: 10_000, forceCloseConnections: true })
  server.removeContentTypeParser('text/plain')
  server.setErrorHandler<FastifyError>((error, _request, reply) => {
    const code = error.statusCode === 413 ? 'too_large' : 'usage'
    return reply.code(error.statusCode ?? 400).send({ error: { code, what: error.message } })
  })
  server.setNotFoundHandler((request, reply) => {
    return reply.code(404).send({ error: { code: 'usage', what: `There is no method ${request.url}` } })
  })
  server.post<{ Params: { method: string }; Body: unknown }>('/:method', (request, reply) => {
    const { method } = request.params
    const args = request.body ?? {}
    if (!Object.hasOwn(CALLS, method) && method !== 'openRange' && method !== 'dnsLog') return reply.callNotFound()
    if (typeof args !== 'object') throw new TypeError('The arguments of a call are not an object')
    const hangUp = new AbortController()
    const lines = new PassThrough()
    reply.raw.on('close', () => hangUp.abort())
    if (method === 'openRange') void runRange(node, args as RangeArguments, hangUp.signal, lines)
    else if (method === 'dnsLog') void runLog(node, hangUp.signal, lines)
    else void run(node, method as Method, args, hangUp.signal, lines)
    return reply.type('application/x-ndjson').send(lines)
  })
  await server.ready()
  // The umask closes the moment between bind and chmod.
  const umask = process.umask(0o177)
  try {
    await server.listen({ path: socket })
  } catch (cause) {
    throw new P2pnsError('port_in_use', `The socket ${socket} cannot be opened (${(cause as Error).message})`, {
      cause,
    })
  } finally {
    process.umask(umask)
  }
  return { stop: () => server.close() }
}

async function run(
  node: P2pnsNode,
  method: Method,
  args: object,
  signal: AbortSignal,
  out: PassThrough,
): Promise<void> {
  const line = (value: object) => out.write(`${JSON.stringify(value)}\n`)
  let last: { at: number; phase: string } = { at: 0, phase: '' }
  const onProgress = (progress: Progress) => {
    // A client that does not read is told later.
    if (out.writableNeedDrain) return
    const at = performance.now()
    if (progress.phase === last.phase && at - last.at < PROGRESS_EVERY_MS) return
    last = { at, phase: progress.phase }
    line({ progress })
  }
  try {
    line({ result: (await CALLS[method](node, args as never, { signal, onProgress })) ?? null })
  } catch (error) {
    line({ error: told(error) })
  } finally {
    out.end()
  }
}

function told(error: unknown): { code: string; what: string } {
  const { code, what } = isError(error) ? error : { code: 'internal', what: (error as Error).message }
  return { code, what }
}

/** First what it is, then `{"data":...}` lines of base64 as fast as they are read, then `{"end":true}`. */
async function runRange(
  node: P2pnsNode,
  { target, ...range }: RangeArguments,
  signal: AbortSignal,
  out: PassThrough,
): Promise<void> {
  const line = lineWriter(out, signal)
  let stream: RangeStream | undefined
  try {
    stream = await node.openRange(target, range, { signal })
    const { bytes, cid, size, start, end } = stream
    await line({ result: { cid, size, start, end } })
    for await (const chunk of bytes) await line({ data: Buffer.from(chunk).toString('base64') })
    await line({ end: true })
  } catch (error) {
    if (!signal.aborted) out.write(`${JSON.stringify({ error: told(error) })}\n`)
  } finally {
    await stream?.close()
    out.end()
  }
}

/** `{"answered":...}` lines, as questions are answered. */
async function runLog(node: P2pnsNode, signal: AbortSignal, out: PassThrough): Promise<void> {
  const line = lineWriter(out, signal)
  try {
    for await (const answered of node.dnsLog(signal)) await line({ answered })
  } catch (error) {
    if (!signal.aborted) out.write(`${JSON.stringify({ error: told(error) })}\n`)
  } finally {
    out.end()
  }
}

/** Resolves when there is room for more. */
function lineWriter(out: PassThrough, signal: AbortSignal): (value: object) => Promise<void> {
  return async (value) => {
    if (!out.write(`${JSON.stringify(value)}\n`)) await once(out, 'drain', { signal })
  }
}
