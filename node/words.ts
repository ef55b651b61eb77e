/**
 * 32-byte seeds as 24 English words (BIP 39, the last 8 bits are a checksum), for paper. The words are the seed itself;
 * BIP 39's own step from words to a wallet's seed is not taken. A recovery key is also read in z-base-32.
 */
import { entropyToMnemonic, mnemonicToEntropy } from '@scure/bip39'
import { wordlist } from '@scure/bip39/wordlists/english.js'
import { type Bytes, fromZ32 } from './core/encoding.ts'
import { P2pnsError } from './core/errors.ts'

const COUNT = 24

export function wordsOf(seed: Bytes): string {
  return entropyToMnemonic(seed, wordlist)
}

/** Reads 24 words in any case and with any blanks between them. Errors: words_invalid, which never repeats a right word. */
export function seedFromWords(text: string): Bytes {
  const words = text.normalize('NFKD').toLowerCase().trim().split(/\s+/)
  if (words.length !== COUNT) throw new P2pnsError('words_invalid', `These are ${words.length} words, not ${COUNT}`)
  const strange = words.findIndex((word) => !wordlist.includes(word))
  if (strange >= 0) {
    throw new P2pnsError('words_invalid', `Word ${strange + 1}, "${words[strange]?.slice(0, 20)}", is not in the list`)
  }
  try {
    return mnemonicToEntropy(words.join(' '), wordlist)
  } catch (cause) {
    throw new P2pnsError('words_invalid', 'A word is wrong, or they are not in order', { cause })
  }
}

/** The seed of a recovery key, as words or in z-base-32. Errors: words_invalid, recovery_wrong. */
export function recoverySeed(text: string): Bytes {
  const plain = text.trim()
  if (/\s/.test(plain)) return seedFromWords(plain)
  try {
    const seed = fromZ32(plain)
    if (seed.length === 32) return seed
  } catch {
    // Told below, without repeating what may be nearly a secret.
  }
  throw new P2pnsError('recovery_wrong', 'That is not a recovery key: neither 24 words nor 52 z-base-32 characters')
}
