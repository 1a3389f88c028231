/**
 * Finality: how far a returned point may still change. It decides a label, never membership (DESIGN section 5).
 *
 *   watermark ──────────────▶ until + lateness ──────────────▶
 *            provisional     │ closed ── covered by a view ──▶ confirmed
 *                            │ an event came after its own partition had passed the close ──▶ restated
 *
 * A window at the boundary (watermark = until + lateness) is no longer provisional.
 */
import type { DurationMs, InstantMs } from './time.ts'

/** In the order of `min_finality`: a later one includes the promises of the earlier ones. */
export const FINALITIES = ['provisional', 'closed', 'confirmed', 'restated'] as const

/** Label of a point. */
export type Finality = (typeof FINALITIES)[number]

/** What the label depends on. */
export interface FinalityFacts {
  /** End of the window or bucket, exclusive. */
  readonly until: InstantMs
  readonly allowedLatenessMs: DurationMs
  /** The stream's watermark at the answer's offsets; NO_WATERMARK without events. */
  readonly watermark: InstantMs
  /** The stream's watermark at the view's cut; NO_WATERMARK without a view or when it had none. */
  readonly viewWatermark: InstantMs
  /** Combined `late` counter of the point. */
  readonly late: number
  /** True when partials of epochs at or after the cut took part. */
  readonly speed: boolean
}

/** The label of one point. Pure; watermarks only grow, so a label never goes back to provisional. */
export function finalityOf(facts: FinalityFacts): Finality {
  const close = facts.until + facts.allowedLatenessMs
  if (facts.watermark < close) return 'provisional'
  if (facts.late > 0) return 'restated'
  if (!facts.speed && facts.viewWatermark >= close) return 'confirmed'
  return 'closed'
}

/** True when `finality` is at least `least`. */
export const reaches = (finality: Finality, least: Finality): boolean =>
  FINALITIES.indexOf(finality) >= FINALITIES.indexOf(least)
