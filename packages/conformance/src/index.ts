// @darkroom/conformance: reference cases made by diffusers, run on any device. Private: for this repository's own tests.

export { runConformance } from './run.ts';
export type { ConformanceOptions, ConformanceReport } from './run.ts';
