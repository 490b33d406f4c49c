// @darkroom/core/testing: what every backend's suite shares.

export { attentionArbitrary, buildAttention, runPlanned } from './attention-graphs.ts';
export type { AttentionProgram } from './attention-graphs.ts';
export { checkKernelCase, kernelTolerance } from './kernel-case.ts';
export type { KernelCase } from './kernel-case.ts';
export { benchCases, testCases } from './cases.ts';
export { choosing } from './choosing.ts';
export { buildGraph, graphArbitrary } from './graphs.ts';
export type { GraphProgram, RandomGraph } from './graphs.ts';
export { buildInput } from './inputs.ts';
export type { InputLayout, InputSpec } from './inputs.ts';
export { kernelArbitraries, mapExpressions } from './properties.ts';
export * from './tolerance.ts';
export { fuzzRuns } from './fuzz-runs.ts';
