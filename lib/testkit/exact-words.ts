/** Exact integers as rows of partials hold them, made by hand: what `addExact` and the readers come to is compared with it. */

/** An exact integer (at most 84 bits) as the (hi, lo) pair of a row, in canonical form: 0 ≤ lo < 2^32. */
export const exactWords = (value: bigint): [hi: number, lo: number] => [
  Number(value >> 32n),
  Number(value & 0xffff_ffffn),
]
