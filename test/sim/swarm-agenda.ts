/** What happens in a world without wires, in the order of its own time. */
interface Event {
  at: number
  order: number
  work: () => void
}

/** What happens when, in that order; at the same time in the order in which it was planned. */
export class Agenda {
  now = 0
  #heap: Event[] = []
  #planned = 0

  after(ms: number, work: () => void): void {
    const heap = this.#heap
    const entry: Event = { at: this.now + ms, order: this.#planned++, work }
    let at = heap.length
    for (; at > 0; at = (at - 1) >> 1) {
      const parent = heap[(at - 1) >> 1] as Event
      if (parent.at <= entry.at) break
      heap[at] = parent
    }
    heap[at] = entry
  }

  /** Whether anything was left to happen. */
  step(): boolean {
    const heap = this.#heap
    const [first] = heap
    const last = heap.pop()
    if (!first || !last) return false
    if (first !== last) this.#sink(last)
    this.now = first.at
    first.work()
    return true
  }

  /** Into the place of the first, and down to where it belongs. */
  #sink(entry: Event): void {
    const heap = this.#heap
    for (let at = 0; ; ) {
      let child = 2 * at + 1
      if (child + 1 < heap.length && isBefore(heap[child + 1] as Event, heap[child] as Event)) child++
      const next = heap[child]
      if (!next || isBefore(entry, next)) {
        heap[at] = entry
        return
      }
      heap[at] = next
      at = child
    }
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order)
}
