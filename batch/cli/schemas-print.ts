/** Reports of `tidemark schemas` for a terminal, within 80 columns: a table of all, then each finding with its place and remedy. */
import { tableOf } from './print.ts'
import type { Side } from './schemas-findings.ts'
import type { CheckReport, DiffReport, PlacedFinding, RegisterReport } from './schemas-work.ts'

const WIDTH = 80
/** Characters of a schema's part that are shown. */
const PART_MAX = 200

/** A paragraph, broken at spaces; a word that is longer than the line is broken where the line ends. */
function paragraph(text: string, indent: string, first = indent): string {
  const lines: string[] = []
  let line = first
  let isEmpty = true
  for (const word of text.split(/\s+/)) {
    if (!isEmpty && line.length + 1 + word.length > WIDTH) {
      lines.push(line)
      line = indent
      isEmpty = true
    }
    line += isEmpty ? word : ` ${word}`
    isEmpty = false
    while (line.length > WIDTH) {
      lines.push(line.slice(0, WIDTH))
      line = `${indent}${line.slice(WIDTH)}`
    }
  }
  return [...lines, line].join('\n')
}

const place = (file: string, line: number | null): string => (line === null ? file : `${file}:${line}`)

function partText({ name, at }: Side): string {
  if (at === undefined) return `${name}: nothing there`
  const text = JSON.stringify(at)
  return `${name}: ${text.length > PART_MAX ? `${text.slice(0, PART_MAX)}…` : text}`
}

function findingText(report: CheckReport, finding: PlacedFinding): string {
  const { type, path, line, reader, writer, message, advice } = finding
  const { file, subject, level, version, state } = report
  const against = version === null ? '' : `, version ${version}`
  const under = state === 'invalid' ? `${subject}` : `${subject}${against}, level ${level}`
  const sides =
    type === 'INVALID' || path === null
      ? []
      : [
          paragraph(partText(reader), '          ', '  reader  '),
          paragraph(partText(writer), '          ', '  writer  '),
        ]
  return [
    paragraph(`${place(file, line)} → ${under}`, '  ', ''),
    `  ${type}${path === null ? '' : ` at ${path}`}`,
    ...sides,
    paragraph(message, '  '),
    paragraph(advice, '          ', '  do:     '),
  ].join('\n')
}

/** The check of all schemas. */
export function checkText(reports: readonly CheckReport[]): string {
  const table = tableOf(
    ['file', 'subject', 'level', 'version', 'state'],
    reports.map(({ file, subject, level, version, state }) => [file, subject, level, version, state]),
  )
  const findings = reports.flatMap((report) => report.findings.map((finding) => findingText(report, finding)))
  const bad = reports.filter(({ state }) => state === 'incompatible')
  const last =
    bad.length === 0
      ? []
      : [
          paragraph(
            'Level NONE is no remedy: it lets the schema in and leaves the failure to whoever reads what was written with the other one.',
            '',
          ),
        ]
  return [table, ...findings, ...last].join('\n\n')
}

const cell = (text: string | null): string => (text === null ? 'nothing' : text)

/** The changes of all schemas. */
export const diffText = (reports: readonly DiffReport[]): string =>
  reports
    .map(({ file, subject, version, changes }) => {
      if (version === null) return paragraph(`${file} → ${subject}: nothing is registered yet`, '  ', '')
      const head = `${file} → ${subject}, version ${version}: ${changes.length === 0 ? 'no change' : `${changes.length} change${changes.length > 1 ? 's' : ''}`}`
      const lines = changes.map(({ line, name, path, what, from, to }) => {
        const at = `${line === null ? '' : `line ${line}, `}${path}`
        const values = from === null ? cell(to) : to === null ? from : `${from} → ${to}`
        const kind =
          to === null && !what.endsWith('removed')
            ? `${what} removed`
            : from === null && !what.endsWith('added')
              ? `${what} added`
              : what
        return paragraph(`${name} (${at}): ${kind}: ${values}`, '    ', '  ')
      })
      return [paragraph(head, '  ', ''), ...lines].join('\n')
    })
    .join('\n\n')

/** The registrations. */
export const registerText = (reports: readonly RegisterReport[]): string =>
  [
    tableOf(
      ['file', 'subject', 'id', 'version', 'state'],
      reports.map(({ file, subject, id, version, state }) => [file, subject, id, version, state]),
    ),
    ...reports.flatMap(({ subject, message }) =>
      message === null ? [] : [paragraph(`${subject}: ${message}`, '  ', '')],
    ),
  ].join('\n\n')
