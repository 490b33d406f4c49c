// All stages of verify, the most important first: when the budget ends, what is left is listed as not run. Shares are
// limits, not expectations; together they may exceed the budget.

import { bestOf, features, timeImage } from './image.ts';
import { machine } from './machine.ts';
import { modes } from './models.ts';
import type { ModeName } from './models.ts';
import { partNames, timePart, tunePart } from './modules.ts';
import type { PartName } from './modules.ts';
import { ops } from './ops.ts';
import { rates } from './rates.ts';
import type { Stage } from './stage.ts';
import { picture } from './picture.ts';
import { smoke, smokeSilence, vitalParts } from './smoke.ts';
import { choices, conformance, kernelSuite } from './suites.ts';
import { torchReplay } from './torch.ts';

const check = (name: string, seconds: number, run: Stage['run']): Stage => ({
  name,
  seconds,
  timing: false,
  run,
});
const timing = (name: string, seconds: number, run: Stage['run']): Stage => ({
  name,
  seconds,
  timing: true,
  run,
});

const tuneSeconds: Readonly<Record<PartName, number>> = { unet: 80, vae: 50, text: 20 };

/** Every part and the whole picture in one mode, tuned first. */
const modeStages = (mode: ModeName): Stage[] => [
  ...partNames.map((part) => timing(`tune ${part} ${mode}`, tuneSeconds[part], tunePart(mode, part))),
  ...partNames.map((part) => timing(`${part} ${mode}`, 30, timePart(mode, part))),
];

export const plan: readonly Stage[] = [
  { ...check('smoke', 60, smoke), silence: smokeSilence, vital: vitalParts },
  check('machine', 30, machine),
  check('conformance', 120, conformance),
  check('kernels', 60, kernelSuite),
  check('choices', 90, choices),
  check('picture', 60, picture),
  timing('rates', 40, rates),
  timing('torch before', 100, torchReplay('torch before', Object.keys(modes))),
  ...modeStages('float16'),
  timing('image float16', 60, timeImage(bestOf('float16'))),
  timing('torch after', 50, torchReplay('torch after', ['float16'])),
  ...modeStages('tf32'),
  timing('image tf32', 40, timeImage(bestOf('tf32'))),
  ...modeStages('float32'),
  timing('image float32', 50, timeImage(bestOf('float32'))),
  ...features.map((setting) => timing(`image ${setting.name}`, 50, timeImage(setting))),
  timing('ops', 40, ops),
];

/** @throws Error where there is no such stage. */
export function stageNamed(name: string): Stage {
  const stage = plan.find((s) => s.name === name);
  if (!stage) throw new Error(`verify: no stage '${name}'; there are ${plan.map((s) => s.name).join(', ')}`);
  return stage;
}
