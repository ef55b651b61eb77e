/** Reads the worked example of a specification, so that tests can hold the page to it. */
import { readFileSync } from 'node:fs'

/** The lines `label = value` of the fenced blocks of docs/spec/`page`, by label. */
export function workedExample(page: string): (label: string) => string {
  const text = readFileSync(new URL(`../../docs/spec/${page}`, import.meta.url), 'utf8')
  const values = new Map<string, string>()
  for (const [, block] of text.matchAll(/```text\n([\s\S]*?)```/g)) {
    for (const [, label, value] of (block as string).matchAll(/^(\S[^=\n]*?) += (.+)$/gm)) {
      values.set(label as string, value as string)
    }
  }
  return (label) => {
    const value = values.get(label)
    if (value === undefined) throw new Error(`docs/spec/${page} shows no "${label}"`)
    return value
  }
}
