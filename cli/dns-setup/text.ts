/** Our lines in files: told apart from all others, so that they can be taken out again. Pure. */

/** The start of every file that is ours alone. */
export const MARK = '# Made by `p2pns dns setup`; `p2pns dns setup --undo` removes it.\n'
const BEGIN = '# p2pns begin: `p2pns dns setup --undo` removes this'
const END = '# p2pns end'
/** Before a line that must not count while ours does. */
const OFF = '#p2pns-off# '

export function isOurs(text: string): boolean {
  return text.startsWith(MARK.slice(1), 1)
}

function block(lines: string): string {
  return `${BEGIN}\n${lines}${END}\n`
}

/** `text` with `lines` at its end. */
export function inBlock(text: string, lines: string): string {
  return `${text}${text === '' || text.endsWith('\n') ? '' : '\n'}${block(lines)}`
}

/**
 * A resolv.conf that names `host` first. glibc asks the others only when it does not answer, so they stay for the time
 * that our resolver is down; musl asks all at once and takes the first answer, which for .p2p would be a wrong one.
 */
export function withNameserver(text: string, host: string, isMusl: boolean): string {
  const ours = block(`nameserver ${host}\n`)
  const others = isMusl ? text.replace(/^[ \t]*nameserver\b/gm, (line) => `${OFF}${line}`) : text
  const first = /^(?:#p2pns-off# )?[ \t]*nameserver\b/m.exec(others)
  return first
    ? `${others.slice(0, first.index)}${ours}${others.slice(first.index)}`
    : inBlock(text, `nameserver ${host}\n`)
}

/** What others made of a file that we had changed, without what is ours in it. */
export function withoutBlock(text: string): string {
  const [begin, end] = [text.indexOf(BEGIN), text.indexOf(`${END}\n`)]
  const rest = begin >= 0 && end > begin ? text.slice(0, begin) + text.slice(end + END.length + 1) : text
  return rest.replaceAll(OFF, '')
}
