-- Clients that want the same rows: run by contend.py.
sysbench.cmdline.options = {
   mode = {"hot | hot_txn | ordered | opposite | queue", "hot"},
   jobs = {"rows of the queue", 100000}
}

function prepare()
   local con = sysbench.sql.driver():connect()
   con:query("DROP TABLE IF EXISTS hot")
   con:query("CREATE TABLE hot (id INT PRIMARY KEY, n BIGINT NOT NULL)")
   con:query("INSERT INTO hot VALUES (1, 0), (2, 0)")
   if sysbench.opt.mode == "queue" then
      con:query("DROP TABLE IF EXISTS jobs, done")
      con:query("CREATE TABLE jobs (id INT PRIMARY KEY, what VARCHAR(40))")
      con:query("CREATE TABLE done (id INT PRIMARY KEY)")
      con:bulk_insert_init("INSERT INTO jobs VALUES")
      for i = 1, sysbench.opt.jobs do con:bulk_insert_next("(" .. i .. ", 'a job')") end
      con:bulk_insert_done()
   end
end

function thread_init()
   con = sysbench.sql.driver():connect()
end

function thread_done()
   con:disconnect()
end

local function bump(id) con:query("UPDATE hot SET n = n + 1 WHERE id = " .. id) end

local function transfer(first, second)
   con:query("BEGIN")
   bump(first)
   bump(second)
   con:query("COMMIT")
end

function event()
   local mode = sysbench.opt.mode
   if mode == "hot" then
      bump(1)
   elseif mode == "hot_txn" then
      con:query("BEGIN")
      bump(1)
      con:query("COMMIT")
   elseif mode == "ordered" then
      transfer(1, 2)
   elseif mode == "opposite" then
      if math.random(2) == 1 then transfer(1, 2) else transfer(2, 1) end
   else
      con:query("BEGIN")
      local row = con:query_row("SELECT id FROM jobs ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED")
      if row ~= nil then
         -- A job that is done twice is a duplicate key, which ends the run.
         con:query("INSERT INTO done VALUES (" .. row .. ")")
         con:query("DELETE FROM jobs WHERE id = " .. row)
      end
      con:query("COMMIT")
   end
end

-- A deadlock is the client's to try again; nothing else is.
function sysbench.hooks.sql_error_ignorable(err)
   return err.sql_errno == 1213
end
