// @darkroom/core/graph: recorded graphs, the passes that rewrite them, plans and their replay.

export { compileAhead } from './compile-ahead.ts';
export type { Graph, GraphNode, NamedValue, ValueId, ValueInfo } from './graph.ts';
export {
  channelsLast,
  eliminateDead,
  fuseSharedMatmuls,
  optimize,
  outputsAdjacent,
  passes,
  passesFor,
  sliceAttention,
  winograd,
} from './passes/index.ts';
export type { Pass, SliceAttentionOptions, WinogradOptions } from './passes/index.ts';
export { liftScalars } from './lift-scalars.ts';
export type { Lifted } from './lift-scalars.ts';
export { planGraph } from './plan.ts';
export type { Named, Plan, PlanArg, PlanBase, PlanPort, PlanSegment, PlanLaunch } from './plan-data.ts';
export { maxLiveBytes, planMemory } from './plan-memory.ts';
export type { Lifetime, Placement, Place } from './plan-memory.ts';
export { printPlan, printSummary, summarizePlan } from './print-plan.ts';
export type { PlanSummary } from './print-plan.ts';
export { Replay } from './replay.ts';
export { printGraph } from './print.ts';
export { runGraph } from './run.ts';
export { recordGraph } from './record.ts';
export type { Recording } from './record.ts';
export { parseGraph, serializeGraph } from './serialize.ts';
export { isRecording } from '../recorder.ts';
