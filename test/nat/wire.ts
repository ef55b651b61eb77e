/**
 * The public segment of the lab: a switch between TAP devices that holds every frame for a while and loses some, since the
 * kernels that tests run on have no netem. A process of its own; its messages are below.
 */
import * as fs from 'node:fs'
import koffi from 'koffi'

export interface WireOptions {
  devices: string[]
  /** Milliseconds, one way. */
  delay: number
}

/** To it. `loss`: of frames, from 0 to 1. `capture`: the file in which all frames are kept from now on, which it answers. */
export type ToWire = { loss: number } | { capture: string }

/** linux/if_tun.h */
const TUNSETIFF = 0x400454ca
const IFF_TAP = 0x0002
const IFF_NO_PI = 0x1000
const BROADCAST = 'ffffffffffff'
const MAX_FRAME = 2048
/** A pcap file of Ethernet frames: its magic number, version 2.4, no zone, no accuracy, the longest frame, and the kind of link. */
const PCAP_HEAD = Uint32Array.of(0xa1b2c3d4, 0x0004_0002, 0, 0, MAX_FRAME, 1)

const ioctl = koffi.load('libc.so.6').func('int ioctl(int fd, unsigned long request, uint8_t *argument)')

function openTap(name: string): number {
  const fd = fs.openSync('/dev/net/tun', 'r+')
  // struct ifreq: a name of 16 bytes, and flags.
  const request = Buffer.alloc(40)
  request.write(name)
  request.writeUInt16LE(IFF_TAP | IFF_NO_PI, 16)
  if (ioctl(fd, TUNSETIFF, request) !== 0) throw new Error(`no TAP device ${name}`)
  return fd
}

const { devices, delay } = JSON.parse(process.argv[2] ?? '') as WireOptions
const ports = devices.map(openTap)
const portOf = new Map<string, number>()
const queue: { at: number; frame: Buffer; to: number }[] = []
let loss = 0
let capture: number | undefined
let timer: NodeJS.Timeout | undefined

function listen(port: number): void {
  const frame = Buffer.allocUnsafe(MAX_FRAME)
  fs.read(ports[port] as number, frame, 0, MAX_FRAME, null, (error, length) => {
    listen(port)
    // A device that is down cannot be read yet.
    if (error || length < 14) return
    if (capture !== undefined) keep(capture, frame.subarray(0, length))
    portOf.set(frame.toString('hex', 6, 12), port)
    if (Math.random() < loss) return
    const target = frame.toString('hex', 0, 6)
    const known = target === BROADCAST || (frame[0] as number) & 1 ? undefined : portOf.get(target)
    const to = known === undefined ? [...ports.keys()].filter((other) => other !== port) : [known]
    const at = performance.now() + delay
    for (const one of to) queue.push({ at, frame: frame.subarray(0, length), to: one })
    timer ??= setTimeout(deliver, delay)
  })
}

function deliver(): void {
  timer = undefined
  const now = performance.now()
  let sent = 0
  for (const { at, frame, to } of queue) {
    if (at > now) break
    sent++
    try {
      fs.writeSync(ports[to] as number, frame)
    } catch {
      // Down, or its queue is full: a wire loses frames.
    }
  }
  queue.splice(0, sent)
  if (queue[0]) timer = setTimeout(deliver, Math.max(0, queue[0].at - performance.now()))
}

function keep(file: number, frame: Buffer): void {
  const now = Date.now()
  const head = Uint32Array.of(Math.floor(now / 1000), (now % 1000) * 1000, frame.length, frame.length)
  fs.writeSync(file, Buffer.concat([new Uint8Array(head.buffer), frame]))
}

process.on('message', (message: ToWire) => {
  if ('loss' in message) loss = message.loss
  else {
    capture = fs.openSync(message.capture, 'w')
    fs.writeSync(capture, PCAP_HEAD)
    process.send?.('capturing')
  }
})
process.on('disconnect', () => process.exit())
for (const port of ports.keys()) listen(port)
process.send?.('ready')
