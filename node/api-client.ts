/** The other end of the local API: a running node, as if it were in this process. */
import * as http from 'node:http'
import * as net from 'node:net'
import * as path from 'node:path'
import type { DnsAnswered, Job, P2pnsNode, Progress, RangeStream } from './contract.ts'
import { ERRORS, type ErrorCode, isError, P2pnsError } from './core/errors.ts'

/** Bytes of the arguments of one call. */
export const BODY_LIMIT = 64 * 1024

/** `openRange` and `dnsLog` answer with more than one result. */
export type Method = Exclude<keyof P2pnsNode, 'stop' | 'openRange' | 'dnsLog'>

export interface RangeArguments {
  target: string
  start?: number
  end?: number
}

export function socketPath(home: string): string {
  return path.join(path.resolve(home), 'p2pns.sock')
}
/** Whether somebody listens on the socket; a file that a killed node left behind answers nobody. */
export async function answers(socket: string): Promise<boolean> {
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
      call(
        'resolve',
        { name, type, policy: options.policy, trace: options.trace },
        options.signal ? { signal: options.signal } : {},
      ),
    share: (target, options = {}) => call('share', { path: target, as: options.as }, options),
    fetch: (target, { signal, onProgress, ...request }) => call('fetch', { target, request }, { signal, onProgress }),
    transfers: () => call('transfers', {}),
    pauseTransfer: (id) => call('pauseTransfer', { id }),
    resumeTransfer: (id) => call('resumeTransfer', { id }),
    removeTransfer: (id, options = {}) => call('removeTransfer', { id, ...options }),
    setLimits: (limits) => call('setLimits', { limits }),
    openRange: (target, range = {}, { signal } = {}) => askRange(socket, { target, ...range }, signal),
    dnsLog: (signal) => askLog(socket, signal),
    manifest: (target, { all, signal } = {}) => call('manifest', { target, all }, { signal }),
    verifyManifest: (target, place, job) => call('verifyManifest', { target, path: place }, job),
    diagnose: ({ peer, ...job } = {}) => call('diagnose', { peer }, job),
    probe: (whom, { size, ...job } = {}) => call('probe', { whom, size }, job),
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

interface Line<T> {
  progress?: Progress
  result?: T
  answered?: DnsAnswered
  data?: string
  end?: true
  error?: { code: string; what: string }
}

async function ask<T>(socketPath: string, method: Method, args: object, { signal, onProgress }: Job): Promise<T> {
  for await (const line of answerOf<T>(socketPath, method, args, signal)) {
    if (line.progress) onProgress?.(line.progress)
    else return line.result as T
  }
  throw lost(signal)
}

async function askRange(socketPath: string, args: RangeArguments, asked?: AbortSignal): Promise<RangeStream> {
  const left = new AbortController()
  const signal = AbortSignal.any([left.signal, ...(asked ? [asked] : [])])
  const lines = answerOf<Omit<RangeStream, 'bytes' | 'close'>>(socketPath, 'openRange', args, signal)
  const { value: first } = await lines.next()
  if (!first?.result) {
    await lines.return(undefined)
    throw lost(signal)
  }
  async function* bytes(): AsyncGenerator<Uint8Array> {
    for await (const { data, end } of lines) {
      if (end) return
      if (data === undefined) break
      yield Buffer.from(data, 'base64')
    }
    throw lost(signal)
  }
  return { ...first.result, bytes: bytes(), close: async () => left.abort() }
}

async function* askLog(socketPath: string, signal: AbortSignal | undefined): AsyncGenerator<DnsAnswered> {
  for await (const { answered } of answerOf(socketPath, 'dnsLog', {}, signal)) if (answered) yield answered
  throw lost(signal)
}

/** Throws the error of a line that has one. */
async function* answerOf<T>(
  socketPath: string,
  method: string,
  args: object,
  signal: AbortSignal | undefined,
): AsyncGenerator<Line<T>> {
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
      const line = JSON.parse(text) as Line<T>
      if (line.error) throw received(line.error)
      yield line
    }
  } catch (cause) {
    if (isError(cause)) throw cause
    throw lost(signal, cause)
  }
}

/** Not by node:readline: an error that comes after the last line that was wanted would end the process. */
async function* linesOf(response: http.IncomingMessage): AsyncGenerator<string> {
  // A line may be longer than what comes at once by far.
  let line: string[] = []
  for await (const text of response.setEncoding('utf8') as AsyncIterable<string>) {
    const [end = '', ...begun] = text.split('\n')
    line.push(end)
    for (const next of begun) {
      yield line.join('')
      line = [next]
    }
  }
  const rest = line.join('')
  if (rest !== '') yield rest
}

function received({ code, what }: { code: string; what: string }): P2pnsError {
  return new P2pnsError(Object.hasOwn(ERRORS, code) ? (code as ErrorCode) : 'internal', what)
}

function lost(signal: AbortSignal | undefined, cause?: unknown): P2pnsError {
  if (signal?.aborted) return new P2pnsError('interrupted', 'It was interrupted', { cause })
  return new P2pnsError('peer_unreachable', 'The running node went away before it answered', { cause })
}
