/**
 * The local API: what a running node can do, for the command line, through a unix socket in its home (mode 0600, in a
 * folder of mode 0700). `POST /<method>` with JSON arguments; the answer is a stream of JSON lines: any number of
 * `{"progress":...}`, then one `{"result":...}` or `{"error":...}`. Hanging up cancels the work.
 */
import * as fs from 'node:fs/promises'
import * as http from 'node:http'
import * as net from 'node:net'
import * as path from 'node:path'
import { PassThrough } from 'node:stream'
import type { FastifyError } from 'fastify'
import type { Job, P2pnsNode, Policy, Progress } from './contract.ts'
import { ERRORS, type ErrorCode, isError, P2pnsError } from './core/errors.ts'

/** Bytes of the arguments of one call. */
const BODY_LIMIT = 64 * 1024
/** Bytes of a socket's path, the final NUL of sun_path (unix(7)) not counted. */
const MAX_SOCKET_PATH = process.platform === 'linux' ? 107 : 103
/** Milliseconds between two progress lines of one call. */
const PROGRESS_EVERY_MS = 100

type Method = Exclude<keyof P2pnsNode, 'stop'>

/** How the arguments of each method come from one JSON object, and where the job's options go. */
const CALLS: Record<Method, (node: P2pnsNode, args: never, job: Job) => Promise<unknown>> = {
  register: (node, { request }: { request: Parameters<P2pnsNode['register']>[0] }, job) => node.register(request, job),
  resolve: (node, { name, type, policy }: { name: string; type?: string; policy?: Policy }, { signal }) =>
    node.resolve(name, type, { ...(policy ? { policy } : {}), ...(signal ? { signal } : {}) }),
  share: (node, { path: target, as }: { path: string; as?: string }, job) =>
    node.share(target, { ...job, ...(as ? { as } : {}) }),
  fetch: (node, { target, out, force }: { target: string; out: string; force?: boolean }, job) =>
    node.fetch(target, { ...job, out, ...(force ? { force } : {}) }),
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

/** The arguments of a method whose first parameter is an object. */
interface Request<M extends Method> {
  request: Parameters<P2pnsNode[M]>[0]
}

export function socketPath(home: string): string {
  return path.join(path.resolve(home), 'p2pns.sock')
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
    if (!Object.hasOwn(CALLS, method)) return reply.callNotFound()
    if (typeof args !== 'object') throw new TypeError('The arguments of a call are not an object')
    const hangUp = new AbortController()
    const lines = new PassThrough()
    reply.raw.on('close', () => hangUp.abort())
    void run(node, method as Method, args, hangUp.signal, lines)
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
    const at = performance.now()
    if (progress.phase === last.phase && at - last.at < PROGRESS_EVERY_MS) return
    last = { at, phase: progress.phase }
    line({ progress })
  }
  try {
    line({ result: (await CALLS[method](node, args as never, { signal, onProgress })) ?? null })
  } catch (error) {
    const { code, what } = isError(error) ? error : { code: 'internal', what: (error as Error).message }
    line({ error: { code, what } })
  } finally {
    out.end()
  }
}

/** Whether somebody listens on the socket; a file that a killed node left behind answers nobody. */
async function answers(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = net.connect(socket)
    probe.once('connect', () => {
      probe.destroy()
      resolve(true)
    })
    // Too many wait already: somebody is there, and busy.
    probe.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'EAGAIN'))
  })
}

/** The running node of a home, or undefined when none runs. Its `stop()` only lets go of it. */
export async function connectNode(home: string): Promise<P2pnsNode | undefined> {
  const socket = socketPath(home)
  if (!(await answers(socket))) return undefined
  const call = <T>(method: Method, args: object, job: Job = {}) => ask<T>(socket, method, args, job)
  return {
    register: (request, job) => call('register', { request }, job),
    resolve: (name, type, options = {}) =>
      call('resolve', { name, type, policy: options.policy }, options.signal ? { signal: options.signal } : {}),
    share: (target, options = {}) => call('share', { path: target, as: options.as }, options),
    fetch: (target, options) => call('fetch', { target, out: options.out, force: options.force }, options),
    status: () => call('status', {}),
    peers: () => call('peers', {}),
    keys: () => call('keys', {}),
    clearCache: () => call('clearCache', {}),
    unshare: (what) => call('unshare', { what }),
    transfer: (request, job) => call('transfer', { request }, job),
    rotate: (request, job) => call('rotate', { request }, job),
    release: (request, job) => call('release', { request }, job),
    renew: (request, job) => call('renew', { request }, job),
    receive: (request, job) => call('receive', { request }, job),
    recoveryShown: (name) => call('recoveryShown', { name }),
    trust: () => call('trust', {}),
    setPetname: (pet, target, options = {}) =>
      call('setPetname', { pet, target }, options.signal ? { signal: options.signal } : {}),
    acceptOwner: (name, keyName) => call('acceptOwner', { name, keyName }),
    forget: (name) => call('forget', { name }),
    reportProof: (proof) => call('reportProof', { proof }),
    exportProof: (what) => call('exportProof', { what }),
    stop: async () => {},
  }
}

async function ask<T>(socketPath: string, method: Method, args: object, { signal, onProgress }: Job): Promise<T> {
  const body = JSON.stringify(args)
  if (Buffer.byteLength(body) > BODY_LIMIT) {
    throw new P2pnsError('too_large', `The arguments have more than ${BODY_LIMIT} bytes`)
  }
  const response = await new Promise<http.IncomingMessage>((resolve, reject) => {
    const request = http.request(
      {
        socketPath,
        path: `/${method}`,
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        ...(signal ? { signal } : {}),
      },
      resolve,
    )
    request.on('error', reject)
    request.end(body)
  }).catch((cause: unknown) => {
    throw lost(signal, cause)
  })
  try {
    for await (const text of linesOf(response)) {
      const line = JSON.parse(text) as { progress?: Progress; result?: T; error?: { code: string; what: string } }
      if (line.error) throw received(line.error)
      if (line.progress) onProgress?.(line.progress)
      else return line.result as T
    }
  } catch (cause) {
    if (isError(cause)) throw cause
    throw lost(signal, cause)
  }
  throw lost(signal)
}

/** Not by node:readline: an error that comes after the last line that was wanted would end the process. */
async function* linesOf(response: http.IncomingMessage): AsyncGenerator<string> {
  let rest = ''
  for await (const text of response.setEncoding('utf8') as AsyncIterable<string>) {
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    yield* lines
  }
  if (rest !== '') yield rest
}

function received({ code, what }: { code: string; what: string }): P2pnsError {
  return new P2pnsError(Object.hasOwn(ERRORS, code) ? (code as ErrorCode) : 'internal', what)
}

function lost(signal: AbortSignal | undefined, cause?: unknown): P2pnsError {
  if (signal?.aborted) return new P2pnsError('interrupted', 'It was interrupted', { cause })
  return new P2pnsError('peer_unreachable', 'The running node went away before it answered', { cause })
}
