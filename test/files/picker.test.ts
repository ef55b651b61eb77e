import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { Picker } from '../../node/files/picker.ts'

const all = () => true

test('chunks are asked for in order, each of one peer', () => {
  const picker = new Picker<string>(10, [{ first: 2, count: 7 }])
  picker.add('a', all)
  picker.add('b', all)
  assert.deepEqual(picker.next('a', 4), { first: 2, count: 4 })
  assert.deepEqual(picker.next('b', 10), { first: 6, count: 3 })
  assert.equal(picker.owed('a'), 4)
  assert.equal(picker.left, 7)
})

test('a peer is only asked for what it has', () => {
  const picker = new Picker<string>(6, [{ first: 0, count: 6 }])
  const has = new Set([1, 4])
  picker.add('a', (chunk) => has.has(chunk))
  assert.deepEqual(picker.next('a', 6), { first: 1, count: 1 })
  assert.deepEqual(picker.next('a', 6), { first: 4, count: 1 })
  assert.equal(picker.next('a', 6), undefined)
  has.add(0)
  picker.gained('a')
  assert.deepEqual(picker.next('a', 6), { first: 0, count: 1 })
})

test('what a lost peer owed, and what came wrong, is asked for again', () => {
  const picker = new Picker<string>(3, [{ first: 0, count: 3 }])
  picker.add('a', all)
  picker.next('a', 3)
  picker.came('a', 1)
  picker.fail(1)
  picker.came('a', 2)
  assert.deepEqual(picker.settle(2), [])
  picker.remove('a')
  picker.add('b', all)
  assert.deepEqual(picker.next('b', 3), { first: 0, count: 2 })
  assert.equal(picker.left, 2)
})

test('at the end a second peer is asked, and the slower one is told to cancel', () => {
  const picker = new Picker<string>(2, [{ first: 0, count: 2 }])
  for (const peer of ['a', 'b', 'c']) picker.add(peer, all)
  picker.next('a', 2)
  assert.deepEqual(picker.next('b', 2), { first: 0, count: 1 })
  assert.deepEqual(picker.next('c', 2), { first: 1, count: 1 })
  assert.equal(picker.next('b', 2), undefined, 'two peers are enough')
  picker.came('b', 0)
  assert.equal(picker.judge('a', 0), 'take')
  assert.deepEqual(picker.settle(0), ['a'])
  assert.equal(picker.judge('a', 0), 'unasked')
  assert.equal(picker.judge('c', 0), 'unasked')
})

test('peers that are slow do not keep a third from being asked', () => {
  const picker = new Picker<string>(1, [{ first: 0, count: 1 }])
  for (const peer of ['a', 'b', 'c']) picker.add(peer, all)
  picker.next('a', 1)
  picker.next('b', 1)
  assert.equal(picker.next('c', 1), undefined)
  picker.setSlow('b', true)
  assert.deepEqual(picker.next('c', 1), { first: 0, count: 1 })
  assert.deepEqual(picker.settle(0), ['a', 'b', 'c'])
})

test('whatever peers do, everything is got, and nobody owes a chunk that more than two owe', () => {
  const step = fc.record({
    peer: fc.integer({ min: 0, max: 3 }),
    act: fc.constantFrom('ask', 'ask', 'good', 'good', 'bad', 'leave'),
    size: fc.integer({ min: 1, max: 9 }),
  })
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 40 }), fc.array(step, { maxLength: 200 }), (total, steps) => {
      const picker = new Picker<number>(total, [{ first: 0, count: total }])
      const owes = new Map<number, Set<number>>()
      const settled = new Set<number>()
      const join = (peer: number) => {
        picker.add(peer, all)
        owes.set(peer, new Set())
      }
      const ask = (peer: number, size: number) => {
        const run = picker.next(peer, size)
        if (!run) return false
        for (let chunk = run.first; chunk < run.first + run.count; chunk++) {
          assert.ok(!settled.has(chunk))
          const askers = [...owes.values()].filter((set) => set.has(chunk)).length
          assert.ok(askers < 2)
          owes.get(peer)?.add(chunk)
        }
        return true
      }
      const bring = (peer: number, good: boolean) => {
        const [chunk] = owes.get(peer) ?? []
        if (chunk === undefined) return
        assert.equal(picker.judge(peer, chunk), 'take')
        owes.get(peer)?.delete(chunk)
        picker.came(peer, chunk)
        if (!good) return picker.fail(chunk)
        for (const late of picker.settle(chunk)) owes.get(late)?.delete(chunk)
        settled.add(chunk)
      }
      for (let peer = 0; peer < 4; peer++) join(peer)
      for (const { peer, act, size } of steps) {
        if (act === 'ask') ask(peer, size)
        else if (act === 'leave') {
          picker.remove(peer)
          join(peer)
        } else bring(peer, act === 'good')
        for (const [peer, set] of owes) assert.equal(picker.owed(peer), set.size)
        assert.equal(picker.left, total - settled.size)
      }
      while (picker.left > 0) {
        for (let peer = 0; peer < 4; peer++) {
          ask(peer, 5)
          bring(peer, true)
        }
      }
      assert.equal(settled.size, total)
    }),
  )
})
