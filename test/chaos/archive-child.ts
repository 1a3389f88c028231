/** A process that archives the log of one directory until barrier 7 is covered; killed from inside by FAIL, see lib/io/failpoints. */
import { argv } from 'node:process'
import { systemClock } from '#io/clock.ts'
import { openLakeFolder } from '#io/lake-folder.ts'
import { openSqliteLog } from '#io/log-sqlite.ts'
import { definitionsOf, fixtureRegistry, flightStream, quietLogger } from '#testkit/archive-fixture.ts'
import { startArchive } from '../../services/archive/run.ts'

const directory = argv[2]!
const log = await openSqliteLog({ directory: `${directory}/log`, clock: systemClock, durability: 'os', lock: true })
const lake = await openLakeFolder(`${directory}/lake`)
const { registry } = await fixtureRegistry()
const archive = await startArchive({
  log,
  lake,
  registry,
  clock: systemClock,
  logger: quietLogger,
  definitions: definitionsOf(flightStream()),
  fileRows: 100,
})
await archive.waitForBarrier('flights', 7, AbortSignal.timeout(30_000))
await archive.close()
await log.close()
