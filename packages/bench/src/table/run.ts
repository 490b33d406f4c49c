// bench table: the guide's tables on one device, in one process. Pipelines of all rows are open at once and draw in
// turn, so that a busy machine or a warm chip meets all rows alike.

import { ArgumentError, trace } from '@darkroom/core';
import type { Device, DType } from '@darkroom/core';
import { measureRates } from '@darkroom/core/backend';
import { unetInputs } from '@darkroom/diffusers';
import type { StableDiffusionPipeline } from '@darkroom/diffusers';
import { memoryOfCalls, memorySettings } from '../memory.ts';
import type { MemoryRow } from '../memory.ts';
import { drawTimed, traceUNet } from '../verify/image.ts';
import type { DrawnTimes, ImageSetting } from '../verify/image.ts';
import { usePrecision } from '../verify/models.ts';
import { spreadOf } from '../verify/sampling.ts';
import { isSd15, loaderOf } from './model.ts';
import type { LoadPipeline } from './model.ts';
import { torchBeside } from './peer.ts';
import type { Peer } from './peer.ts';
import type { ScalePoint, Scaling, TableResult, TableRow, TableTimes } from './result.ts';
import { noteOf, tableSettings } from './settings.ts';

/** What to measure, and for how long. */
export interface TableOptions {
  /** emoji-64, sd15 (random weights), a folder, or an id of the hub. */
  readonly model: string;
  /** The folder of emoji-64; default: that of the checkout. */
  readonly emoji?: string;
  /** The folder of torch's replay; default: that of the checkout. */
  readonly torch?: string;
  /** Denoising steps of a picture, at least 2: a step is timed from the end of the one before it. */
  readonly steps: number;
  /** Pixels; default: the model's own size. */
  readonly side?: number | undefined;
  /** About so long in all; what must be measured is measured even if it takes longer. */
  readonly seconds: number;
  /** Rounds at least. */
  readonly rounds: number;
  /** Also measure batches and sizes, for the plot. */
  readonly scaling: boolean;
  /** Opens the device; 'off' for the first row, 'full' for the others. */
  readonly open: (autotune: 'off' | 'full') => Promise<Device>;
  /** Told what is done now. */
  readonly say?: (line: string) => void;
  /** Given the times before memory is measured, which takes as long again. */
  readonly onTimes?: (times: TableTimes) => void;
}

/** A row's pipeline with its settings applied. */
export interface OpenRow {
  readonly setting: ImageSetting;
  readonly pipe: StableDiffusionPipeline;
}

/** Shares of the time: tuning at most, and the end of the rounds. */
const tuneShare = 0.2;
const roundsShare = 0.6;
const mostRounds = 50;
/** A memory setting is a call of so few steps: peaks do not grow with more. */
const memorySteps = 2;
const memoryImages = 2;

/** All tables of one run. @throws ArgumentError for fewer than 2 steps, Error for pictures of another size */
export async function runTable(options: TableOptions): Promise<TableResult> {
  const { model, steps, seconds, say = () => {} } = options;
  if (!(Number.isInteger(steps) && steps >= 2))
    throw new ArgumentError(`steps: must be an integer of at least 2, got ${steps}`);
  const start = performance.now();
  const spent = (): number => (performance.now() - start) / 1000;
  const load = loaderOf(model, options.emoji);
  const plain = await options.open('off');
  const device = await options.open('full');
  const rows: OpenRow[] = [];
  try {
    say('rates and floors');
    const floors = await floorsOf(load, device, options.side);
    const { side } = floors;
    const tuned = await openRows(rows, load, {
      plain,
      device,
      side,
      seconds: tuneShare * seconds,
      say,
    });
    const drawn = await drawRounds(rows, options, side, () => spent() < roundsShare * seconds, say);
    say('torch');
    const comparable = isSd15(rows[0]!.pipe, side);
    const peer = await torchBeside(tableSettings, {
      comparable,
      seconds: (1 - roundsShare) * seconds,
      folder: options.torch,
    });
    const measured = rows.map(({ setting }, i) =>
      rowOf(setting, drawn[i]!, device, tuned, floors.least, peer),
    );
    const times: TableTimes = {
      model,
      device: device.caps.fingerprint,
      steps,
      side,
      rounds: drawn[0]!.length,
      rows: measured.map((row) => ({ ...row, factor: measured[0]!.ms.median / row.ms.median })),
      peer,
    };
    options.onTimes?.(times);
    while (rows.length > 0) rows.pop()!.pipe.dispose();
    say('memory');
    const memory = await memoryRows(load, device, model, floors);
    if (options.scaling) say('scaling');
    const scaling = options.scaling ? await scalingOf(load, device, floors, options) : undefined;
    return { ...times, memory, ...(scaling && { scaling }) };
  } finally {
    for (const { pipe } of rows) pipe.dispose();
    for (const d of [plain, device]) d[Symbol.dispose]();
  }
}

interface Floors {
  /** Pixels, and pixels of half of it that the model draws. */
  readonly side: number;
  readonly half: number;
  readonly rates: Awaited<ReturnType<typeof measureRates>>;
  /** Milliseconds of a step with guidance by dtype, traced with fused attention in the device's own format. */
  readonly least: ReadonlyMap<DType, number>;
}

async function floorsOf(load: LoadPipeline, device: Device, given?: number): Promise<Floors> {
  const dtypes = [...new Set(tableSettings.map(({ mode }) => mode.dtype))];
  const rates = await measureRates(device, dtypes);
  const least = new Map<DType, number>();
  let side = given;
  let half = given;
  for (const dtype of dtypes) {
    using pipe = await load(device, { dtype, format: device.caps.convFormat });
    side ??= pipe.defaultSize.width;
    half = halfOf(side, pipe.sizeMultiple);
    const traced = await trace(pipe.unet, unetInputs(pipe, { width: side, height: side }));
    least.set(dtype, traced.summaries(rates)[0]!.rooflineMs!);
    traced.release();
  }
  return { side: side!, half: half!, rates, least };
}

/**
 * Opens the rows of the first table into `rows`, kernels compiled, choices measured for at most `seconds`. Resolves to
 * the number of keys measured.
 */
export async function openRows(
  rows: OpenRow[],
  load: LoadPipeline,
  on: {
    readonly plain: Device;
    readonly device: Device;
    readonly side: number;
    readonly seconds: number;
    readonly say?: (line: string) => void;
  },
): Promise<number> {
  const { side, say = () => {} } = on;
  for (const setting of tableSettings) {
    const device = setting.autotune === 'off' ? on.plain : on.device;
    say(`build and compile: ${setting.name}`);
    usePrecision(device, setting.mode);
    const pipe = await load(device, setting.mode);
    rows.push({ setting, pipe });
    if (setting.attention === 'plain') pipe.disableMemoryEfficientAttention();
    await drawTimed(pipe, { steps: 1, side });
    // A trace looks up kernels of its own; made again below, from what was measured.
    if (setting.traced) (await trace(pipe.unet, unetInputs(pipe, { width: side, height: side }))).release();
  }
  say(`tune ${on.device.tuner.pending} kernels, at most ${Math.ceil(on.seconds)} s`);
  const tuned = await on.device.tune({ seconds: on.seconds });
  for (const { setting, pipe } of rows) if (setting.traced) await traceUNet(pipe, side);
  return tuned;
}

/** Pictures of each row, in rounds; one uncounted round first. */
async function drawRounds(
  rows: readonly OpenRow[],
  { steps, rounds }: TableOptions,
  side: number,
  goOn: () => boolean,
  say: (line: string) => void,
): Promise<DrawnTimes[][]> {
  const drawn = rows.map((): DrawnTimes[] => []);
  for (let round = 0; round <= rounds || (round <= mostRounds && goOn()); round++) {
    say(round === 0 ? 'warm up' : `round ${round}`);
    for (const [i, { setting, pipe }] of rows.entries()) {
      usePrecision(pipe.device, setting.mode);
      const times = await drawTimed(pipe, { steps, side });
      if (round > 0) drawn[i]!.push(times);
    }
  }
  return drawn;
}

function rowOf(
  setting: ImageSetting,
  drawn: readonly DrawnTimes[],
  device: Device,
  tuned: number,
  least: Floors['least'],
  peer: Peer,
): Omit<TableRow, 'factor'> {
  const stepMs = spreadOf(drawn.flatMap((d) => d.stepMs));
  const leastMs = least.get(setting.mode.dtype)!;
  const note = noteOf(setting, device, tuned);
  const torchStepMs = peer.stepMs[setting.name];
  return {
    name: setting.name,
    ...(note !== undefined && { note }),
    ms: spreadOf(drawn.map((d) => d.ms)),
    stepMs,
    leastMs,
    rooflineShare: leastMs / stepMs.median,
    ...(torchStepMs !== undefined && { torchStepMs }),
  };
}

/** Each of the guide's memory switches by itself. */
async function memoryRows(
  load: LoadPipeline,
  device: Device,
  model: string,
  { side, half }: Floors,
): Promise<MemoryRow[]> {
  const single = ['plain', 'score matrix', 'scores, attention slicing', 'VAE', 'model offload'];
  const chosen = memorySettings(half).filter(
    ({ name }) => name === 'sequential offload' || single.some((start) => name.startsWith(start)),
  );
  const mode = { dtype: 'float16', format: device.caps.convFormat } as const;
  const call = { seed: 1, numInferenceSteps: memorySteps, numImagesPerPrompt: memoryImages, width: side, height: side };
  const work = `${model}, ${memoryImages} pictures of ${side}x${side}, float16`;
  return memoryOfCalls(work, chosen, (weights) => load(device, mode, weights), call);
} // prettier-ignore

/** Half of a picture's side, rounded down to a size that the model draws. */
const halfOf = (side: number, multiple: number): number =>
  Math.max(multiple, Math.floor(side / 2 / multiple) * multiple);

/** The last row's settings for 1, 2 and 4 pictures at once, and for pictures of half and twice the size. */
async function scalingOf(
  load: LoadPipeline,
  device: Device,
  { side, half, rates }: Floors,
  { steps, rounds }: TableOptions,
): Promise<Scaling> {
  const { mode } = tableSettings.at(-1)!;
  using pipe = await load(device, mode);
  const { unet } = pipe;
  const point = async (images: number, side: number): Promise<ScalePoint> => {
    const traced = await trace(unet, unetInputs(pipe, { width: side, height: side, images }));
    pipe.unet = traced;
    try {
      const stepMs: number[] = [];
      for (let round = 0; round <= rounds; round++) {
        const drawn = await drawTimed(pipe, { steps, side, images });
        if (round > 0) stepMs.push(...drawn.stepMs);
      }
      return { images, side, stepMs: spreadOf(stepMs), leastMs: traced.summaries(rates)[0]!.rooflineMs! };
    } finally {
      pipe.unet = unet;
      traced.release();
    }
  };
  const one = await point(1, side);
  return {
    batch: [one, await point(2, side), await point(4, side)],
    size: [...(half < side ? [await point(1, half)] : []), one, await point(1, 2 * side)],
  };
}
