import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { Picker } from '../../node/files/picker.ts'

const options = { random: () => 0 }
const all = undefined
const bitsOf = (...chunks: number[]): Uint8Array => {
  const bits = new Uint8Array(8)
  for (const chunk of chunks) bits[chunk >> 3] = (bits[chunk >> 3] as number) | (0x80 >> (chunk & 7))
  return bits
}
const asked = (first: number, count: number, ...instead: string[]) => ({ run: { first, count }, instead })

test('while everybody has everything chunks are asked for in order, each of one peer', () => {
  const picker = new Picker<string>(10, [{ first: 2, count: 7 }], options)
  picker.add('a', all)
  picker.add('b', all)
  assert.deepEqual(picker.next('a', 4), asked(2, 4))
  assert.deepEqual(picker.next('b', 10), asked(6, 3))
  assert.equal(picker.owed('a'), 4)
  assert.equal(picker.left, 7)
})

test('downloads that start at once begin at different places, and miss nothing', () => {
  const picker = new Picker<string>(10, [{ first: 0, count: 10 }], { random: () => 7 })
  picker.add('a', all)
  assert.deepEqual(picker.next('a', 5), asked(7, 3))
  assert.deepEqual(picker.next('a', 5), asked(0, 5))
  assert.deepEqual(picker.next('a', 5), asked(5, 2))
})

test('a peer is only asked for what it has', () => {
  const picker = new Picker<string>(6, [{ first: 0, count: 6 }], options)
  picker.add('a', bitsOf(1, 4))
  assert.deepEqual(picker.next('a', 6), asked(1, 1))
  assert.deepEqual(picker.next('a', 6), asked(4, 1))
  assert.equal(picker.next('a', 6), undefined)
  picker.gained('a', { first: 0, count: 1 })
  assert.deepEqual(picker.next('a', 6), asked(0, 1))
})

test('the rarest comes first, and a seed is asked for what nobody else has', () => {
  const picker = new Picker<string>(6, [{ first: 0, count: 6 }], options)
  picker.add('seed', all)
  picker.add('a', bitsOf(0, 1, 2))
  picker.add('b', bitsOf(0, 2, 3))
  assert.deepEqual(picker.next('a', 1), asked(1, 1))
  assert.deepEqual(picker.next('b', 1), asked(3, 1))
  assert.deepEqual(picker.next('seed', 6), asked(4, 2))
})

test('what a lost peer owed is asked for again', () => {
  const picker = new Picker<string>(3, [{ first: 0, count: 3 }], options)
  picker.add('a', all)
  picker.next('a', 3)
  assert.deepEqual(picker.settle('a', 2), [])
  picker.remove('a')
  picker.add('b', all)
  assert.deepEqual(picker.next('b', 3), asked(0, 2))
  assert.equal(picker.left, 2)
})

test('who has nothing new to give takes over half of what another owes too much', () => {
  const picker = new Picker<string>(8, [{ first: 0, count: 8 }], options)
  picker.add('a', all)
  picker.next('a', 8)
  picker.add('b', all)
  assert.deepEqual(picker.next('b', 8), asked(4, 4, 'a'))
  assert.equal(picker.owed('a'), 4)
  assert.equal(picker.owed('b'), 4)
})

test('at the end a second peer is asked, and the slower one is told to cancel', () => {
  const picker = new Picker<string>(2, [{ first: 0, count: 2 }], options)
  for (const peer of ['a', 'b', 'c']) picker.add(peer, all)
  picker.next('a', 2)
  assert.deepEqual(picker.next('b', 2), asked(0, 1))
  assert.deepEqual(picker.next('c', 2), asked(1, 1))
  assert.equal(picker.next('b', 2), undefined, 'two peers are enough')
  assert.deepEqual(picker.settle('b', 0), ['a'])
  assert.equal(picker.owed('a'), 1)
})

test('before the very end nobody is asked for what another will bring as soon', () => {
  const rates = new Map([['swift', 401]])
  const picker = new Picker<string>(9, [{ first: 0, count: 9 }], { ...options, rate: (peer) => rates.get(peer) ?? 100 })
  for (const peer of ['a', 'b', 'c']) picker.add(peer, all)
  for (const peer of ['a', 'b', 'c']) picker.next(peer, 3)
  for (const peer of ['equal', 'swift']) picker.add(peer, bitsOf(0, 3, 6))
  assert.equal(picker.next('equal', 1), undefined)
  assert.deepEqual(picker.next('swift', 1), asked(0, 1))
  assert.equal(picker.next('swift', 1), undefined, 'it owes something itself')
  for (const chunk of [8, 7, 5, 4]) picker.settle(chunk > 5 ? 'c' : 'b', chunk)
  assert.equal(picker.next('equal', 1), undefined, 'five are left')
  picker.settle('a', 2)
  assert.deepEqual(picker.next('equal', 1), asked(3, 1))
})

test('whoever has nothing new is not asked for what another owes while something is missing', () => {
  const picker = new Picker<string>(3, [{ first: 0, count: 3 }], options)
  picker.add('a', bitsOf(0))
  picker.add('b', bitsOf(0))
  assert.deepEqual(picker.next('a', 3), asked(0, 1))
  assert.equal(picker.next('b', 3), undefined)
  picker.add('c', all)
  picker.next('c', 3)
  assert.deepEqual(picker.next('b', 3), asked(0, 1))
})

test('peers that are slow do not keep a third from being asked', () => {
  const picker = new Picker<string>(1, [{ first: 0, count: 1 }], options)
  for (const peer of ['a', 'b', 'c']) picker.add(peer, all)
  picker.next('a', 1)
  picker.next('b', 1)
  assert.equal(picker.next('c', 1), undefined)
  picker.setSlow('b', true)
  assert.deepEqual(picker.next('c', 1), asked(0, 1))
  assert.deepEqual(picker.settle('c', 0), ['a', 'b'])
})

test('a reader is never further behind than it wants to be', () => {
  const picker = new Picker<string>(9, [{ first: 2, count: 7 }], { random: () => 5, ahead: 3 })
  picker.add('a', all)
  assert.deepEqual(picker.next('a', 9), asked(2, 3))
  assert.equal(picker.next('a', 9), undefined)
  assert.ok(!picker.isWanting)
  picker.advance(4)
  assert.ok(picker.isWanting)
  assert.deepEqual(picker.next('a', 9), asked(5, 2))
})

test('whatever peers have and do, everything is got, and nobody owes a chunk that more than two owe', () => {
  const step = fc.record({
    peer: fc.integer({ min: 0, max: 3 }),
    act: fc.constantFrom('ask', 'ask', 'good', 'good', 'have', 'leave'),
    size: fc.integer({ min: 1, max: 9 }),
  })
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 40 }), fc.array(step, { maxLength: 200 }), (total, steps) => {
      const picker = new Picker<number>(total, [{ first: 0, count: total }], { random: (end) => 3 % end })
      const owes = new Map<number, Set<number>>()
      const settled = new Set<number>()
      const join = (peer: number) => {
        picker.add(peer, peer === 0 ? undefined : bitsOf(...(peer === 1 ? [0, 3, 9] : [])))
        owes.set(peer, new Set())
      }
      const ask = (peer: number, size: number) => {
        const next = picker.next(peer, size)
        if (!next) return
        for (let chunk = next.run.first; chunk < next.run.first + next.run.count; chunk++) {
          assert.ok(!settled.has(chunk))
          for (const other of next.instead) assert.ok(owes.get(other)?.delete(chunk))
          assert.ok([...owes.values()].filter((set) => set.has(chunk)).length < 2)
          owes.get(peer)?.add(chunk)
        }
      }
      const bring = (peer: number) => {
        const [chunk] = owes.get(peer) ?? []
        if (chunk === undefined) return
        owes.get(peer)?.delete(chunk)
        for (const late of picker.settle(peer, chunk)) owes.get(late)?.delete(chunk)
        settled.add(chunk)
      }
      for (let peer = 0; peer < 4; peer++) join(peer)
      for (const { peer, act, size } of steps) {
        if (act === 'ask') ask(peer, size)
        else if (act === 'have') picker.gained(peer, { first: size, count: size })
        else if (act === 'leave') {
          picker.remove(peer)
          join(peer)
        } else bring(peer)
        for (const [peer, set] of owes) assert.equal(picker.owed(peer), set.size)
        assert.equal(picker.left, total - settled.size)
      }
      for (let rounds = 0; picker.left > 0; rounds++) {
        assert.ok(rounds < 1000, 'it ends')
        for (let peer = 0; peer < 4; peer++) {
          ask(peer, 5)
          bring(peer)
        }
      }
      assert.equal(settled.size, total)
    }),
  )
})
