/** What a registry or its token server wants to know of a user. */
export interface Credentials {
  username?: string
  secret?: string
  /**
   * `credentials`: name and password; with an empty name the secret is an identity token. `refresh`: the secret is an OAuth refresh
   * token. `header`: the secret is the whole value of the Authorization header.
   */
  type: 'credentials' | 'refresh' | 'header'
  /** They are asked for again after this moment. */
  expiresAt?: Date
}

/** Why credentials are wanted. */
export interface CredentialsRequest {
  /** The host that is asked, with its port: `registry-1.docker.io`, not `docker.io`. */
  host: string
  /** The image for which they are needed. */
  reference: string
  /** The challenges of the host, as they came. */
  wwwAuthenticate: string[]
}
