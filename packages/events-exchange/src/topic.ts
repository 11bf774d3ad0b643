import { InvalidArgumentError, quote, validateIdentifier } from '@containerd-ts/interface'

/** A topic is a path of identifiers, for instance `/tasks/exit`. @throws InvalidArgumentError */
export function validateTopic(topic: string): void {
  const prefix = `envelope topic ${quote(topic)}:`
  if (topic === '') throw new InvalidArgumentError(`${prefix} must not be empty`)
  if (!topic.startsWith('/')) throw new InvalidArgumentError(`${prefix} must start with '/'`)
  if (topic === '/') throw new InvalidArgumentError(`${prefix} must have at least one component`)
  for (const component of topic.slice(1).split('/'))
    validateIdentifier(component, `${prefix} failed validation on component ${quote(component)}`)
}
