export * from './tolerance.ts';
