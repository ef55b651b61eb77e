/**
 * Many datagrams in one system call (recvmmsg(2), sendmmsg(2)), which Node does not have: two thirds of the time of a DNS server are
 * system calls. Linux with 64-bit pointers only; all structures below are those of its C library.
 */
import { endianness } from 'node:os'
import koffi from 'koffi'
import { addressBytes, addressText, type HostPort } from '../../node/core/hosts.ts'

const AF_INET = 2
const AF_INET6 = 10
const SOCK_DGRAM = 2
const SOCK_CLOEXEC = 0o2000000
const SOL_SOCKET = 1
const SO_RCVBUF = 8
const SO_RCVTIMEO = 20
const IPPROTO_IPV6 = 41
const IPV6_V6ONLY = 26
const MSG_TRUNC = 0x20
/** Waits for the first datagram, and takes those that are there besides. */
const MSG_WAITFORONE = 0x10000

/** Datagrams of one call. */
export const BATCH = 64
/** Bytes: of a query, and of an answer over UDP. A longer query is dropped. */
const QUERY_SIZE = 4096
const ANSWER_SIZE = 4096
/** struct sockaddr_in6 is the longest; struct iovec; struct mmsghdr. */
const ADDRESS_SIZE = 32
const IOVEC_SIZE = 16
const HEADER_SIZE = 64

export const errnoName = (): string => {
  const number = koffi.errno()
  return Object.entries(koffi.os.errno).find(([, value]) => value === number)?.[0] ?? `errno ${number}`
}

type Pointer = unknown

/** Undefined where there is no such thing. */
export function loadCalls() {
  if (process.platform !== 'linux' || endianness() !== 'LE' || !['x64', 'arm64'].includes(process.arch))
    return undefined
  const libc = koffi.load(null)
  return {
    socket: libc.func('int socket(int domain, int type, int protocol)') as (...args: number[]) => number,
    setsockopt: libc.func('int setsockopt(int fd, int level, int name, const void *value, uint32_t length)') as (
      fd: number,
      level: number,
      name: number,
      value: Buffer,
      length: number,
    ) => number,
    bind: libc.func('int bind(int fd, const void *address, uint32_t length)') as (...args: unknown[]) => number,
    getsockname: libc.func('int getsockname(int fd, void *address, void *length)') as (...args: unknown[]) => number,
    sendto: libc.func(
      'long sendto(int fd, const void *data, size_t size, int flags, const void *address, uint32_t length)',
    ) as (...args: unknown[]) => number,
    close: libc.func('int close(int fd)') as (fd: number) => number,
    recvmmsg: libc.func('int recvmmsg(int fd, void *messages, uint32_t count, int flags, void *timeout)') as (
      ...args: unknown[]
    ) => number,
    sendmmsg: libc.func('int sendmmsg(int fd, void *messages, uint32_t count, int flags)') as (
      ...args: unknown[]
    ) => number,
  }
}

export type Calls = NonNullable<ReturnType<typeof loadCalls>>

/** A bound UDP socket. `idle`: milliseconds after which a call that waits returns with nothing. Throws an error with a `code` such as EADDRINUSE. */
export function openSocket(
  calls: Calls,
  { host, port }: HostPort,
  buffer: number,
  idle: number,
): { fd: number; port: number } {
  const isV6 = host.includes(':')
  const fd = calls.socket(isV6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)
  if (fd < 0) throw systemError('socket')
  try {
    const int = (value: number): Buffer => Buffer.from(Int32Array.of(value).buffer)
    const time = Buffer.from(BigInt64Array.of(BigInt(Math.floor(idle / 1000)), BigInt((idle % 1000) * 1000)).buffer)
    if (isV6) calls.setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, int(1), 4)
    calls.setsockopt(fd, SOL_SOCKET, SO_RCVBUF, int(buffer), 4)
    if (calls.setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, time, time.length) !== 0) throw systemError('setsockopt')
    const address = socketAddress({ host, port })
    if (calls.bind(fd, address, address.length) !== 0) throw systemError('bind')
    const bound = Buffer.alloc(ADDRESS_SIZE)
    if (calls.getsockname(fd, bound, int(ADDRESS_SIZE)) !== 0) throw systemError('getsockname')
    return { fd, port: bound.readUInt16BE(2) }
  } catch (error) {
    calls.close(fd)
    throw error
  }
}

function systemError(what: string): Error {
  const code = errnoName()
  return Object.assign(new Error(`${what}: ${code}`), { code })
}

/** Bytes of a struct sockaddr_in6 or sockaddr_in. */
export function addressSizeOf(isV6: boolean): number {
  return isV6 ? 28 : 16
}

/** struct sockaddr_in or sockaddr_in6. */
export function socketAddress({ host, port }: HostPort): Buffer {
  const bytes = addressBytes(host)
  const isV6 = host.includes(':')
  const address = Buffer.alloc(addressSizeOf(isV6))
  address.writeUInt16LE(isV6 ? AF_INET6 : AF_INET, 0)
  address.writeUInt16BE(port, 2)
  address.set(bytes, isV6 ? 8 : 4)
  return address
}

/** The IP address in a socket address. */
export function hostIn(address: Buffer): string {
  return address.readUInt16LE(0) === AF_INET6
    ? addressText(Uint8Array.from(address.subarray(8, 24)))
    : addressText(Uint8Array.from(address.subarray(4, 8)))
}

/**
 * Room for one batch of datagrams and their answers, in memory that the system writes to and reads from. The answer to the `index`th
 * stands in the `index`th place, whose address is where the question came from: nothing is copied.
 */
export class Batch {
  readonly #calls: Calls
  readonly #fd: number
  readonly #addresses: Memory
  readonly #questions: Ring
  readonly #answers: Ring
  readonly #addressSize: number
  /** Places that hold an answer which has to go out. */
  readonly #answered = new Uint8Array(BATCH)

  constructor(calls: Calls, fd: number, isV6: boolean) {
    this.#calls = calls
    this.#fd = fd
    this.#addressSize = addressSizeOf(isV6)
    this.#addresses = new Memory(BATCH * ADDRESS_SIZE)
    this.#questions = new Ring(QUERY_SIZE, this.#addresses, this.#addressSize)
    this.#answers = new Ring(ANSWER_SIZE, this.#addresses, this.#addressSize)
  }

  /** Waits for datagrams; how many came, 0 when none did for a while. Throws when the socket is of no use any more. */
  receive(): number {
    const count = this.#calls.recvmmsg(this.#fd, this.#questions.headers[0], BATCH, MSG_WAITFORONE, null)
    if (count >= 0) return count
    const code = errnoName()
    // What a datagram that was sent before met is told here, too; it is nothing to us.
    if (['EAGAIN', 'EINTR', 'ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOMEM'].includes(code)) return 0
    throw new Error(`recvmmsg: ${code}`)
  }

  /** The `index`th that came; valid until the next `receive`. */
  question(index: number): Buffer {
    return this.#questions.data(index)
  }

  /** Where it came from, as a socket address. */
  from(index: number): Buffer {
    const start = index * ADDRESS_SIZE
    return this.#addresses.bytes.subarray(start, start + this.#addressSize)
  }

  /** Whether the `index`th is all there, and not forged: nobody can be answered on port 0. */
  isWhole(index: number): boolean {
    const at = index * ADDRESS_SIZE + 2
    const hasPort = this.#addresses.bytes[at] !== 0 || this.#addresses.bytes[at + 1] !== 0
    return hasPort && !this.#questions.isCut(index)
  }

  /** Room for the answer to the `index`th. */
  room(index: number): Buffer {
    return this.#answers.room(index)
  }

  /** Has the answer to the `index`th, the first `length` bytes of its room, go out with the others. */
  answer(index: number, length: number): void {
    this.#answers.setLength(index, length)
    this.#answered[index] = 1
  }

  /** Sends the answers; what the system does not take is lost, as datagrams may be. */
  flush(): void {
    for (let first = this.#answered.indexOf(1); first >= 0; first = this.#answered.indexOf(1, first)) {
      const gap = this.#answered.indexOf(0, first)
      const end = gap < 0 ? BATCH : gap
      while (first < end) {
        const count = this.#calls.sendmmsg(this.#fd, this.#answers.headers[first], end - first, 0)
        // One that cannot be sent would hold up those behind it.
        first += count > 0 ? count : 1
      }
    }
    this.#answered.fill(0)
  }
}

/** Memory outside of JavaScript, zeroed. */
class Memory {
  readonly pointer: Pointer
  readonly address: bigint
  readonly bytes: Buffer
  readonly view: DataView

  constructor(size: number) {
    this.pointer = koffi.alloc('uint8_t', size)
    this.address = koffi.address(this.pointer)
    const buffer = koffi.view(this.pointer, size)
    this.bytes = Buffer.from(buffer).fill(0)
    this.view = new DataView(buffer)
  }
}

/** An array of struct mmsghdr, each with one piece of data. */
class Ring {
  /** Pointers to each. */
  readonly headers: bigint[]
  readonly #size: number
  readonly #headers: Memory
  readonly #iovecs = new Memory(BATCH * IOVEC_SIZE)
  readonly #data: Memory
  readonly #rooms: Buffer[]

  constructor(size: number, addresses: Memory, addressSize: number) {
    this.#size = size
    this.#headers = new Memory(BATCH * HEADER_SIZE)
    this.#data = new Memory(BATCH * size)
    this.#rooms = Array.from({ length: BATCH }, (_, i) => this.#data.bytes.subarray(i * size, (i + 1) * size))
    this.headers = Array.from({ length: BATCH }, (_, i) => this.#headers.address + BigInt(i * HEADER_SIZE))
    const { view } = this.#headers
    for (let i = 0; i < BATCH; i++) {
      const at = i * HEADER_SIZE
      view.setBigUint64(at, addresses.address + BigInt(i * ADDRESS_SIZE), true)
      view.setUint32(at + 8, addressSize, true)
      view.setBigUint64(at + 16, this.#iovecs.address + BigInt(i * IOVEC_SIZE), true)
      view.setBigUint64(at + 24, 1n, true)
      this.#iovecs.view.setBigUint64(i * IOVEC_SIZE, this.#data.address + BigInt(i * size), true)
      this.#iovecs.view.setBigUint64(i * IOVEC_SIZE + 8, BigInt(size), true)
    }
  }

  data(index: number): Buffer {
    const start = index * this.#size
    return this.#data.bytes.subarray(start, start + this.#headers.view.getUint32(index * HEADER_SIZE + 56, true))
  }

  /** The system had no room for all of it. */
  isCut(index: number): boolean {
    return (this.#headers.view.getInt32(index * HEADER_SIZE + 48, true) & MSG_TRUNC) !== 0
  }

  room(index: number): Buffer {
    return this.#rooms[index] as Buffer
  }

  setLength(index: number, length: number): void {
    this.#iovecs.view.setUint32(index * IOVEC_SIZE + 8, length, true)
  }
}
