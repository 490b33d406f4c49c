// @darkroom/core/testing: cases, checks and tolerances that the suites of all backends share.

export { attentionArbitrary, buildAttention, runPlanned } from './attention-graphs.ts';
export type { AttentionProgram } from './attention-graphs.ts';
export { checkKernelCase, kernelTolerance } from './kernel-case.ts';
export type { KernelCase } from './kernel-case.ts';
export { benchCases } from './bench-cases.ts';
export { kernelArbitraries, testCases } from './cases/index.ts';
export { normChoiceCases } from './cases/norms.ts';
export { drawWith } from './cases/draw.ts';
export type { Arb, Draw, Fc } from './cases/draw.ts';
export { mapExpressions } from './cases/pointwise.ts';
export { checkEveryChoice, choosing } from './choosing.ts';
export { skip } from './skip.ts';
export { buildGraph, graphArbitrary } from './graphs.ts';
export type { GraphProgram, RandomGraph } from './graphs.ts';
export { buildInput } from './inputs.ts';
export type { InputLayout, InputSpec } from './inputs.ts';
export * from './tolerance.ts';
export { fuzzRuns } from './fuzz-runs.ts';
