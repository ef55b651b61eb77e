/** The questions that a resolver answers, for who watches: nothing is written anywhere, and what they do not read in time is lost. */
import type { DnsAnswered } from '../node/contract.ts'
import { typeName } from '../node/core/rdata.ts'
import type { Answered, Resolver } from '../resolver/index.ts'
import { rcodeName } from '../resolver/tally.ts'

/** Lines that may wait to be read. */
const MAX_WAITING = 1_000

/** Ends with `signal`. */
export async function* dnsLog(resolver: Pick<Resolver, 'watch'>, signal?: AbortSignal): AsyncGenerator<DnsAnswered> {
  let waiting: Answered[] = []
  let missed = 0
  let news = Promise.withResolvers<void>()
  const wake = (): void => news.resolve()
  const end = resolver.watch((answered) => {
    if (waiting.length < MAX_WAITING) waiting.push(answered)
    else missed++
    wake()
  })
  signal?.addEventListener('abort', wake)
  try {
    if (signal?.aborted) return
    for (;;) {
      await news.promise
      if (signal?.aborted) return
      news = Promise.withResolvers()
      const [lines, before] = [waiting, missed]
      waiting = []
      missed = 0
      for (const [i, line] of lines.entries()) {
        yield i + 1 === lines.length && before > 0 ? { ...shown(line), missed: before } : shown(line)
      }
    }
  } finally {
    signal?.removeEventListener('abort', wake)
    end()
  }
}

function shown({ at, type, rcode, took, ...rest }: Answered): DnsAnswered {
  return {
    at: new Date(at).toISOString(),
    ...rest,
    type: typeName(type),
    rcode: rcodeName(rcode),
    took: Math.round(took * 1000) / 1000,
  }
}
