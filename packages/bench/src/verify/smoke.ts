// The smoke test: ten small items in one process, the simplest first, each with the time, the last kernel and the
// largest difference from the CPU in a record of its own. It says within a minute what of the backend works on a GPU that
// nobody has seen; the first three items decide whether anything else is worth running.

import { cpu } from '@darkroom/backend-cpu';
import type { Device } from '@darkroom/core';
import type { Kernel } from '@darkroom/core/backend';
import { chosen, compileCases, differenceOf, nameOf, resultOf } from './compare.ts';
import type { ChosenCase } from './compare.ts';
import type { ItemRecord } from './records.ts';
import type { SmokeContext, SmokeItem } from './smoke-item.ts';
import { smokeItems } from './smoke-items.ts';
import { LostDevice } from './stage.ts';
import type { StageContext } from './stage.ts';
import { requireDevice, timely } from './watch.ts';

/** Emulated devices are slower by this. */
const patience = (tiny: boolean): number => (tiny ? 100 : 1);
/** Parts without which nothing else is tried. */
export const vitalParts: readonly string[] = ['open', ...smokeItems.slice(0, 3).map((item) => item.name)];
const errorLimit = 600;
/** Failing cases that an item's error names. */
const mostNamed = 4;

export async function smoke(context: StageContext): Promise<void> {
  const { options, record, begin, isDue } = context;
  begin('open');
  const device = await context.open('off');
  const lastLaunch = watchLaunches(device);
  using oracle = await cpu();
  begin('compile');
  const due = smokeItems.filter((item) => isDue(item.name));
  const start = performance.now();
  const cases = new Map(due.map((item) => [item, item.cases?.(device, options.tiny) ?? []]));
  await compileCases([...cases.values()].flat(), device);
  record({ kind: 'fact', name: 'smoke compiled', value: { cases: [...cases.values()].flat().length, ms: performance.now() - start } }); // prettier-ignore
  const failed: string[] = [];
  for (const item of due) {
    begin(item.name);
    const result = await runItem(item, cases.get(item)!, { ...context, device, oracle }, lastLaunch);
    record(result);
    if (result.error === undefined) continue;
    failed.push(item.name);
    if (vitalParts.includes(item.name))
      throw new Error(`smoke: ${item.name}: ${result.error}; nothing else is tried`);
    await requireDevice(device, item.name, result.error);
  }
  if (failed.length > 0) throw new Error(`smoke: failed: ${failed.join(', ')}`);
}

/** A stage for tools that watch every access to memory: the kernels of items 4 and 5, without the CPU's results. */
export async function smokeKernels({ options, open, begin }: StageContext): Promise<void> {
  const device = await open('off');
  const items = smokeItems.filter((item) => /^[45] /.test(item.name));
  const cases = items.flatMap((item) => item.cases!(device, options.tiny));
  await compileCases(cases, device);
  for (const c of cases) {
    begin(nameOf(c));
    await resultOf(c.test, chosen(device, c));
  }
}

async function runItem(
  item: SmokeItem,
  cases: readonly ChosenCase[],
  context: Omit<SmokeContext, 'compare' | 'tell'>,
  lastLaunch: () => string,
): Promise<ItemRecord> {
  const details: Record<string, unknown> = {};
  let worst: ItemRecord['worst'];
  const compare = async (all: readonly ChosenCase[]): Promise<void> => {
    const wrong: string[] = [];
    for (const c of all) {
      const name = nameOf(c);
      try {
        const want = await resultOf(c.test, context.oracle);
        const got = await resultOf(c.test, chosen(context.device, c));
        const d = differenceOf(got.values, want);
        if (!worst || d.share > worst.share) worst = { share: d.share, difference: d.difference, name };
        if (!(d.share <= 1)) wrong.push(`${name}: element ${d.at} is ${d.got}, the CPU has ${d.want}`);
      } catch (error) {
        wrong.push(`${name}: ${(error as Error).message}`);
        await requireDevice(context.device, name, wrong.join('; '));
      }
    }
    if (wrong.length > 0)
      throw new Error(`${wrong.length} of ${all.length} cases: ${wrong.slice(0, mostNamed).join('; ')}`);
  };
  const start = performance.now();
  const done = (error?: string): ItemRecord => ({
    kind: 'item',
    name: item.name,
    ...(error !== undefined && { error: error.slice(0, errorLimit) }),
    ms: performance.now() - start,
    lastLaunch: lastLaunch(),
    ...(worst && { worst }),
    ...(Object.keys(details).length > 0 && { details }),
  });
  try {
    await timely(
      item.run({ ...context, compare, tell: (name, value) => (details[name] = value) }, cases),
      item.name,
      patience(context.options.tiny),
    );
    return done();
  } catch (error) {
    const result = done((error as Error).message);
    if (!(error instanceof LostDevice)) return result;
    context.record(result);
    throw error;
  }
}

/** Notes the label of every kernel that is enqueued. */
function watchLaunches(device: Device): () => string {
  const { backend } = device;
  let last = 'none';
  const run = backend.run.bind(backend);
  backend.run = (kernel: Kernel, ...rest) => {
    last = kernel.label;
    run(kernel, ...rest);
  };
  return () => last;
}
