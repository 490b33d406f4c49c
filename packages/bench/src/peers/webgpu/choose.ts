// Chooses the form of a work with which a candidate is timed: tries and checks all, picks the fastest correct one.

import { relativeL2 } from '@darkroom/core/testing';
import type { Child } from './child-process.ts';
import type { WorkId } from './work.ts';

export interface FormReport {
  readonly form: string;
  readonly firstMs: number;
  readonly tuneMs?: number;
  /** Relative L2 to the reference. */
  readonly distance: number;
  /** The faster of two runs, by which the form was chosen. */
  readonly pilotMs: number;
}
export interface FormFailure {
  readonly form: string;
  readonly failed: string;
}
export type TriedForm = FormReport | FormFailure;

/** Wider than rounding, as peers' shaders may use the GPU's fast exp. */
const agreement = 1e-3;

class WrongResult extends Error {}

/**
 * The chosen form stays prepared in the child; none is chosen where none can run.
 * @throws WrongResult when a form of Darkroom's is wrong, or every form of a peer's that runs.
 */
export async function chooseForm(
  child: Child,
  work: WorkId,
  names: readonly string[],
  reference: Float32Array,
  onProgress: (line: string) => void = () => {},
): Promise<{ readonly chosen?: FormReport; readonly forms: readonly TriedForm[] }> {
  const forms: TriedForm[] = [];
  let chosen: FormReport | undefined;
  let wrong: WrongResult | undefined;
  for (const form of names) {
    const what = `${work}: ${child.name}: ${form}`;
    let loser: string | undefined = form;
    try {
      const report = await tryForm(child, work, form, reference);
      forms.push(report);
      onProgress(`${what}: ${report.pilotMs.toFixed(2)} ms`);
      if (!chosen || report.pilotMs < chosen.pilotMs) {
        loser = chosen?.form;
        chosen = report;
      }
    } catch (error) {
      const failed = (error as Error).message;
      forms.push({ form, failed });
      onProgress(`${what}: ${failed}`);
      if (error instanceof WrongResult) {
        wrong = new WrongResult(`${what}: ${failed}`);
        if (child.name === 'darkroom') throw wrong;
      }
    }
    // A child that died says so when it is asked for its next form.
    if (loser !== undefined) await child.ask({ kind: 'release', form: loser }).catch(() => {});
  }
  if (!chosen && wrong) throw wrong;
  return chosen ? { chosen, forms } : { forms };
}

async function tryForm(
  child: Child,
  work: WorkId,
  form: string,
  reference: Float32Array,
): Promise<FormReport> {
  const { result, ...first } = await child.ask({ kind: 'prepare', work, form });
  const distance = relativeL2(result, reference);
  if (result.length !== reference.length || !(distance <= agreement)) {
    throw new WrongResult(
      `wrong: differs from the CPU's result by ${distance} (relative L2, at most ${agreement}; ` +
        `${result.length} values for ${reference.length})`,
    );
  }
  const pilot: number[] = [];
  for (let i = 0; i < 2; i++) pilot.push(...(await child.ask({ kind: 'run', form, seconds: 0 })));
  return { form, ...first, distance, pilotMs: Math.min(...pilot) };
}
