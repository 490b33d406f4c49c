// For tests: cuDNN asked about a GPU that is only described, and the products of Stable Diffusion to ask it about. One
// process asks about one GPU: what cuDNN found out about the first it takes for the next.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { layoutOf } from '@darkroom/core/backend';
import type { DType, Expr, MemoryFormat } from '@darkroom/core';
import type { ArgSpec, KernelOp } from '@darkroom/core/backend';
import { diagnose, explain, loadAddon } from '../node/addon.ts';
import { skip } from '@darkroom/core/testing';
import { addonIsMissing } from '../node/testing.ts';
import { CudaBackend } from '../backend.ts';
import { FaultLog } from '../fault-log.ts';
import { OwnKernels } from '../own-kernels.ts';
import type { Library } from '../provider.ts';
import { traitsOfArchitecture } from '../node/testing.ts';
import type { CudaTraits } from '../traits.ts';
import { CudnnDescriptors } from './cudnn-engines.ts';
import type { EngineConfig } from './cudnn-engines.ts';
import { cudnnGraph, CudnnLibrary } from './cudnn-library.ts';
import { CudnnPlans } from './cudnn-plans.ts';
import type { PlanFiles } from './cudnn-plans.ts';

export type Described = 'sm_75' | 'sm_80' | 'sm_90';
export interface Problem {
  readonly name: string;
  readonly op: KernelOp;
  readonly args: readonly ArgSpec[];
}

/** True, with the reason said, where cuDNN cannot be asked. */
export function cudnnIsMissing(): boolean {
  if (addonIsMissing()) return skip('cudnn', 'the addon is missing');
  standInForDriver();
  const sitePackages = (process.env['DARKROOM_SITE_PACKAGES'] ?? '').split(delimiter).filter(Boolean);
  const { cudnn, nvrtc } = diagnose({ sitePackages, emulator: false }).libraries;
  if (!cudnn.found) return skip('cudnn', explain('cudnn', cudnn));
  return !nvrtc.found && skip('cudnn', `cuDNN's own compiler: ${explain('nvrtc', nvrtc)}`);
}

/** cuDNN's choices for a GPU described in fixtures/devices.json. */
export function describedCudnn(device: Described): CudnnLibrary {
  const { cudnn, driver } = loadAddon();
  const own = unusedKernels(traitsOfArchitecture(Number(device.slice('sm_'.length))));
  return new CudnnLibrary(cudnn, driver, { properties: deviceProperties(device), own });
}
export const deviceProperties = (device: Described): string =>
  JSON.stringify((fixture('devices') as Record<Described, unknown>)[device]);

const fixture = (name: string): unknown =>
  JSON.parse(readFileSync(new URL(`../../fixtures/${name}.json`, import.meta.url), 'utf8')) as unknown;

/**
 * A libcuda without a device. Before cuDNN offers an engine that it compiles at run time it looks for the driver's
 * functions; without them it offers none of those, and crashes when told to build one. Loading what it compiled is the
 * only call that must not fail.
 */
function standInForDriver(): void {
  const folder = mkdtempSync(join(tmpdir(), 'darkroom-libcuda-'));
  const path = join(folder, 'libcuda.so.1');
  const input =
    soughtCalls.map((name) => `extern "C" int ${name}() { return 100; }`).join('\n') + loadedKernels;
  const options = ['-x', 'c++', '-shared', '-fPIC', '-Wl,-soname,libcuda.so.1', '-o', path, '-'];
  const built = spawnSync(process.env['CXX'] || 'g++', options, { encoding: 'utf8', input });
  try {
    if (built.status !== 0) throw new Error(`no stand-in for libcuda: ${built.stderr}`);
    loadAddon().driver.open(path);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
const soughtCalls = [
  'cuInit', 'cuGetErrorName', 'cuGetErrorString', 'cuCtxGetCurrent', 'cuCtxGetLimit', 'cuCtxPopCurrent',
  'cuCtxPushCurrent', 'cuStreamGetCtx', 'cuDriverGetVersion', 'cuLinkCreate', 'cuLinkAddData', 'cuLinkComplete',
  'cuLinkDestroy', 'cuLaunchKernel', 'cuLaunchCooperativeKernel', 'cuLaunchKernelEx', 'cuDeviceGetCount', 'cuDeviceGet',
  'cuLibraryLoadFromFile', 'cuOccupancyMaxPotentialClusterSize',
]; // prettier-ignore
const loadedKernels = `
  extern "C" int cuLibraryLoadData(void** library) { *library = library; return 0; }
  extern "C" int cuLibraryGetKernel(void** kernel) { *kernel = kernel; return 0; }
  extern "C" int cuLibraryUnload() { return 0; }
  extern "C" int cuKernelSetAttribute() { return 0; }
  extern "C" int cuKernelGetAttribute(int* value) { *value = 0; return 0; }`;

interface Sd15Problems {
  readonly conv2d: readonly {
    x: number[];
    w: number[];
    stride: [number, number];
    padding: [number, number];
  }[];
  readonly attention: readonly {
    batch: number;
    heads: number;
    queries: number;
    keys: number;
    head: number;
    causal: boolean;
  }[];
}

/** The epilogue of a convolution with result [n, o, h, w], and the shapes of its inputs. */
export interface Finish {
  readonly epilogue?: Expr;
  readonly extras: (result: readonly number[]) => readonly (readonly number[])[];
}
const sum: Expr = ['add', ['in', 0], ['in', 1]];
export const finishes: Readonly<Record<'plain' | 'bias' | 'residual' | 'embedding', Finish>> = {
  plain: { extras: () => [] },
  bias: { epilogue: sum, extras: ([, o]) => [[o!, 1, 1]] },
  residual: { epilogue: ['add', sum, ['in', 2]], extras: (y) => [[y[1]!, 1, 1], y] },
  embedding: { epilogue: ['add', sum, ['in', 2]], extras: ([n, o]) => [[o!, 1, 1], [n!, o!, 1, 1]] },
}; // prettier-ignore

/** Every distinct convolution of Stable Diffusion 1.5 with what comes after it. */
export function sd15Convolutions(
  { epilogue, extras }: Finish,
  dtype: DType = 'float16',
  format: MemoryFormat = 'channelsLast',
): Problem[] {
  return (fixture('sd15-problems') as Sd15Problems).conv2d.map(({ x, w, stride, padding: [v, h] }) => {
    const size = (i: number, pad: number): number =>
      Math.floor((x[i]! + 2 * pad - w[i]!) / stride[i - 2]!) + 1;
    const y = [x[0]!, w[0]!, size(2, v), size(3, h)];
    return {
      name: `conv2d ${x.join('x')} ${w.join('x')} /${stride[0]}`,
      op: { kind: 'conv2d', stride, padding: [v, v, h, h], dilation: [1, 1], groups: 1, ...(epilogue && { epilogue }) },
      args: [x, w, ...extras(y), y].map((s) => ({ dtype, layout: layoutOf(s, s.length === 4 ? format : 'contiguous') })),
    };
  }); // prettier-ignore
}

/** Every distinct attention of Stable Diffusion 1.5, heads as the views of [b, l, heads·d] that they are. */
export function sd15Attentions(dtype: DType = 'float16'): Problem[] {
  return (fixture('sd15-problems') as Sd15Problems).attention.map((p) => {
    const { batch, heads, queries, keys, head, causal } = p;
    const rows = (l: number): ArgSpec => ({
      dtype,
      layout: {
        shape: [batch, heads, l, head],
        strides: [l * heads * head, head, heads * head, 1],
        offset: 0,
      },
    });
    return {
      name: `attention ${batch}x${heads} ${queries}x${keys} d${head}${causal ? ' causal' : ''}`,
      op: { kind: 'attention', scale: head ** -0.5, mask: causal ? 'causal' : 'none' },
      args: [rows(queries), rows(keys), rows(keys), rows(queries)],
    };
  });
}

/** Names of the problems that the library has no choice for. */
export const unanswered = (library: CudnnLibrary, problems: readonly Problem[]): string[] =>
  problems.filter(({ op, args }) => library.choices(op, args).length === 0).map((p) => p.name);

/**
 * Builds the plan of a problem's first choice, which compiles its kernel where cuDNN has none ready.
 * @returns the bytes of its workspace
 */
export function buildPlan(
  device: Described,
  library: CudnnLibrary,
  { op, args }: Problem,
  files?: PlanFiles,
  faults?: FaultLog,
): number {
  const target = { cudnn: loadAddon().cudnn, properties: deviceProperties(device) };
  using made = new CudnnDescriptors(target);
  const config = library.choices(op, args)[0]!.params as unknown as EngineConfig;
  const plan = new CudnnPlans(target, files, faults).plan(made, cudnnGraph(op, args)!, config);
  return plan.get('executionPlanWorkspaceSize', 'int64')[0]!;
}

/** Our own kernels where none is prepared. */
const unusedKernels = (traits: CudaTraits): OwnKernels =>
  new OwnKernels({ driver: undefined as never, compiler: undefined as never, traits });

/** A backend on a described GPU, which can be asked for choices and nothing else. */
export function describedBackend(device: Described, libraries: readonly Library[]): CudaBackend {
  const architecture = Number(device.slice('sm_'.length));
  const unused = undefined as never;
  const traits = traitsOfArchitecture(architecture);
  return new CudaBackend({
    cuda: { driver: unused, nvrtc: unused, cublasLt: undefined, cudnn: undefined, emulated: false, libraries: unused },
    compiler: unused,
    traits,
    own: unusedKernels(traits),
    stream: 0,
    memory: unused,
    suballocate: false,
    libraries,
    faults: new FaultLog(),
    plans: { built: 0, restored: 0, ms: 0 },
    use: () => {},
    fingerprint: device,
    totalBytes: 2 ** 34,
    close: () => {},
  }); // prettier-ignore
}
