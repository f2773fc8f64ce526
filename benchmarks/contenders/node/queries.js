'use strict'
// What both Node stand-ins ask of PostgreSQL: named statements, which pg prepares once on each connection.

const { Pool } = require('pg')

// Connections: of 4, 8, 16 and 32, with PostgreSQL on another core, 16 was the best or equal best on every route.
const pool = new Pool({ connectionString: process.env.DATABASE_URL, max: 16 })

const POST = `SELECT p.id, p.title, p.content, p.published, p.created_at, p.owner_id,
  json_build_object('id', u.id, 'name', u.name) AS owner FROM posts p JOIN users u ON u.id = p.owner_id`

async function rows (name, text, values) {
  return (await pool.query({ name, text, values })).rows
}

/** The user of a verified token, or undefined when gone or deactivated. */
async function activeUser (id) {
  const [user] = await rows('user',
    'SELECT id, email, name, is_active, created_at FROM users WHERE id = $1', [id])
  return user && user.is_active ? user : undefined
}

async function post (id) {
  return (await rows('post', `${POST} WHERE p.id = $1`, [id]))[0]
}

async function newestPosts (limit) {
  return rows('posts', `${POST} ORDER BY p.id DESC LIMIT $1`, [limit])
}

async function addPost (owner, { title, content, published = true }) {
  const [made] = await rows('add', `INSERT INTO posts (title, content, published, owner_id)
    VALUES ($1, $2, $3, $4) RETURNING id, title, content, published, created_at, owner_id`,
  [title, content, published, owner.id])
  return { ...made, owner: { id: owner.id, name: owner.name } }
}

async function replacePost (owner, id, { title, content, published = true }) {
  const [made] = await rows('replace', `UPDATE posts SET title = $1, content = $2, published = $3 WHERE id = $4
    RETURNING id, title, content, published, created_at, owner_id`,
  [title, content, published, id])
  return { ...made, owner: { id: owner.id, name: owner.name } }
}

module.exports = { activeUser, post, newestPosts, addPost, replacePost }
