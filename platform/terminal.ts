/** What people read in a terminal: lines of at most 80 columns, a progress bar where there is a terminal, plain lines elsewhere. */
import { Presets, SingleBar } from 'cli-progress'

/** Writes a line to stdout. */
export const say = (line = ''): void => void process.stdout.write(`${line}\n`)

/** Progress of long work. */
export interface Progress {
  set(done: number): void
  end(): void
}

/** A bar with an estimate on a terminal; elsewhere one line at the end. */
export function progress(title: string, total: number): Progress {
  if (!process.stdout.isTTY) return { set: () => undefined, end: () => say(`${title}: ${total.toLocaleString('en')}`) }
  const bar = new SingleBar(
    { format: `${title} {bar} {percentage} % · {value}/{total} · {eta_formatted} left`, barsize: 24 },
    Presets.shades_classic,
  )
  bar.start(total, 0)
  return {
    set: (done) => bar.update(done),
    end: () => {
      bar.update(total)
      bar.stop()
    },
  }
}
