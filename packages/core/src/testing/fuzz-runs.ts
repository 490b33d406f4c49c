// The number of a fuzzer's runs: the same cases every time in CI; others, as many as DARKROOM_PROPERTY_RUNS says,
// elsewhere.

/** Options of fc.assert: `usual` cases from seed 1, or as many as DARKROOM_PROPERTY_RUNS asks for. */
export function fuzzRuns(usual: number): { numRuns: number; seed?: number } {
  const asked = process.env['DARKROOM_PROPERTY_RUNS'];
  return asked === undefined ? { numRuns: usual, seed: 1 } : { numRuns: Number(asked) };
}
