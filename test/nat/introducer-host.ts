/** An introducer of the lab: its home, and the address it listens on. */
import { createIntroducer } from '../../introducer/index.ts'

const [home = '', listen = ''] = process.argv.slice(2)
const introducer = await createIntroducer({ home, listen: [listen], bits: 4 })
process.on('disconnect', () => process.exit())
process.send?.({ ready: introducer.address })
