// Short names of schedulers: what command lines of this field call them, and what other tools write beside pictures.

/** A scheduler by its short name: a class, and the settings that make it this one. */
export interface SchedulerAlias {
  readonly className: string;
  /** Settings of its config that the name stands for. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Name of the sampler in the parameters of pictures. */
  readonly sampler: string;
  /** Name of its spacing there, beside the sampler. */
  readonly scheduleType?: string;
}

const plain = { use_karras_sigmas: false, use_exponential_sigmas: false, use_beta_sigmas: false } as const;
const karras = { ...plain, use_karras_sigmas: true } as const;
const dpm = (algorithm: string): Readonly<Record<string, unknown>> => ({
  algorithm_type: algorithm,
  solver_order: 2,
  solver_type: 'midpoint',
});

/** `name` and, with Karras' noise levels, `name_karras`. */
function both(
  name: string,
  className: string,
  sampler: string,
  config: Readonly<Record<string, unknown>> = {},
): [string, SchedulerAlias][] {
  return [
    [name, { className, sampler, config: { ...config, ...plain } }],
    [`${name}_karras`, { className, sampler, scheduleType: 'Karras', config: { ...config, ...karras } }],
  ];
}

/** Every short name of a scheduler, with what it stands for. */
export const schedulerAliases: Readonly<Record<string, SchedulerAlias>> = Object.fromEntries([
  ...both('euler', 'EulerDiscreteScheduler', 'Euler'),
  ['euler_a', { className: 'EulerAncestralDiscreteScheduler', sampler: 'Euler a', config: {} }],
  ...both('dpm++2m', 'DPMSolverMultistepScheduler', 'DPM++ 2M', dpm('dpmsolver++')),
  ...both('dpm++2m_sde', 'DPMSolverMultistepScheduler', 'DPM++ 2M SDE', dpm('sde-dpmsolver++')),
  ...both('heun', 'HeunDiscreteScheduler', 'Heun'),
  ...both('lms', 'LMSDiscreteScheduler', 'LMS'),
  ...both('unipc', 'UniPCMultistepScheduler', 'UniPC'),
  ['ddim', { className: 'DDIMScheduler', sampler: 'DDIM', config: {} }],
  ['ddpm', { className: 'DDPMScheduler', sampler: 'DDPM', config: {} }],
  ['pndm', { className: 'PNDMScheduler', sampler: 'PLMS', config: {} }],
  ['lcm', { className: 'LCMScheduler', sampler: 'LCM', config: {} }],
] as [string, SchedulerAlias][]);

/** The short name of a scheduler; that of its class where none says all of it. */
export function schedulerName(className: string, config: Readonly<Record<string, unknown>>): string {
  const found = Object.entries(schedulerAliases).find(
    ([, alias]) =>
      alias.className === className &&
      Object.entries(alias.config).every(([key, value]) => (config[key] ?? false) === value),
  );
  return found?.[0] ?? className;
}

/** The short name of a sampler as other tools write it, with its spacing apart or in the same name. */
export function schedulerOfSampler(sampler: string, scheduleType?: string): string | undefined {
  const type = scheduleType === undefined || /^(automatic|normal)$/i.test(scheduleType) ? '' : scheduleType;
  const wanted = `${sampler} ${type}`.trim().toLowerCase();
  return Object.entries(schedulerAliases).find(
    ([, alias]) => `${alias.sampler} ${alias.scheduleType ?? ''}`.trim().toLowerCase() === wanted,
  )?.[0];
}
