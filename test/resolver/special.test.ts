import assert from 'node:assert/strict'
import { test } from 'node:test'
import { specialName } from '../../resolver/special.ts'

test('names of the network at home are not special, whatever they look like', () => {
  for (const name of ['', 'local', 'printer.local', 'home.arpa', 'nas.home.arpa', '1.1.168.192.in-addr.arpa', 'arpa']) {
    assert.equal(specialName(name), undefined, name)
  }
  for (const name of [
    'localhostx',
    'xlocalhost',
    'test.example.org',
    '127.in-addr.arpa.example',
    '1127.in-addr.arpa',
  ]) {
    assert.equal(specialName(name), undefined, name)
  }
})
